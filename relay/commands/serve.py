"""`relay serve`: web and worker in one process, under gunicorn."""

from __future__ import annotations

import os
import sys

import click
from gunicorn.app.wsgiapp import WSGIApplication

from relay.commands.context import configuration, configured


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=int, help="The port; else $PORT, else 8080.")
@click.option("--no-worker", is_flag=True, help="Web alone; `relay work` delivers.")
def command(host: str, port: int | None, no_worker: bool) -> None:
    """Takes notifications, shows the pages, and delivers.

    A wrong configuration ends it before anything is started.
    """
    configured()
    if path := configuration():
        os.environ["RELAY_CONFIG"] = str(path)
    if no_worker:
        os.environ["RELAY_SERVER__WORKER"] = "false"
    port = port if port is not None else int(os.environ.get("PORT", "8080"))
    sys.argv = ["relay", "--config", "python:relay.server", "--bind", f"{host}:{port}"]
    WSGIApplication("%(prog)s [OPTIONS]", prog="relay serve").run()
