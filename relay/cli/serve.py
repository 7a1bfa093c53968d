"""`relay serve`: web and worker in one process, under gunicorn."""

from __future__ import annotations

import os
import sys

import click
from gunicorn.app.wsgiapp import WSGIApplication

from relay.cli.context import config_file, load_settings, open_ledger


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    envvar="PORT",
    default=8080,
    help="The port. Default: $PORT, then 8080.",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    envvar="WEB_CONCURRENCY",
    default=1,
    help="Number of processes; more than 1 needs PostgreSQL. Default: $WEB_CONCURRENCY, then 1.",
)
@click.option("--no-worker", is_flag=True, help="Web only; `relay work` runs the deliveries.")
def command(host: str, port: int, processes: int, no_worker: bool) -> None:
    """Receive notifications, serve the pages and run deliveries.

    Checks the configuration and the database first, and exits before gunicorn starts if either is
    unusable.
    """
    with open_ledger(load_settings()):
        pass  # gunicorn would report a failure with a traceback, and opens the ledger again.
    if path := config_file():
        os.environ["RELAY_CONFIG"] = str(path)
    if no_worker:
        os.environ["RELAY_SERVER__WORKER"] = "false"
    sys.argv = ["relay", "--config", "python:relay.app.gunicorn_config"]
    sys.argv += ["--workers", str(processes), "--bind", f"{host}:{port}"]
    WSGIApplication("%(prog)s [OPTIONS]", prog="relay serve").run()
