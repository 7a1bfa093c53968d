"""`relay work`: the worker alone; any number of them beside each other."""

from __future__ import annotations

import sys

import click

from relay.app import logging as logs
from relay.app.gunicorn_config import GRACE, collect_seldom
from relay.app.relay import Relay
from relay.cli.context import configured
from relay.cli.signals import stop_signal
from relay.config import load as settings


@click.command("work")
@click.option("--grace", default=GRACE, show_default=True, help="Seconds to end in after SIGTERM.")
def command(grace: int) -> None:
    """Delivers, pulls queues and scans, until SIGTERM or Ctrl-C; then drains."""
    chosen = configured()
    logs.configure(sys.stderr, secrets=settings.secrets(chosen))
    relay = Relay.open(chosen)
    with stop_signal() as stop:
        collect_seldom()
        relay.start_worker()
        stop.wait()
        relay.stop_worker(grace)
        relay.close()
