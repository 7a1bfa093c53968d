"""`relay serve`: web and worker in one process, under gunicorn."""

from __future__ import annotations

import os
import sys

import click
from gunicorn.app.wsgiapp import WSGIApplication

from relay.cli.context import configuration, configured, opened


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="PORT",
    default=8080,
    help="The port; else $PORT, else 8080.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    envvar="WEB_CONCURRENCY",
    default=1,
    help="How many, over PostgreSQL; else $WEB_CONCURRENCY, else 1.",
)
@click.option("--no-worker", is_flag=True, help="Web alone; `relay work` delivers.")
def command(host: str, port: int, processes: int, no_worker: bool) -> None:
    """Takes notifications, shows the pages, and delivers.

    A wrong configuration, or a database that cannot be opened, ends it before anything is started.
    """
    with opened(configured()):
        pass  # gunicorn would tell of it with a traceback; its processes open the ledger themselves
    if path := configuration():
        os.environ["RELAY_CONFIG"] = str(path)
    if no_worker:
        os.environ["RELAY_SERVER__WORKER"] = "false"
    where, many = ["--bind", f"{host}:{port}"], ["--workers", str(processes)]
    sys.argv = ["relay", "--config", "python:relay.app.gunicorn_config", *many, *where]
    WSGIApplication("%(prog)s [OPTIONS]", prog="relay serve").run()
