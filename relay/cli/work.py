"""`relay work`: a worker without the web part. Several workers can share a database."""

from __future__ import annotations

import sys

import click

from relay.app.gunicorn_config import GRACE, tune_garbage_collection
from relay.app.logging import configure
from relay.app.relay import Relay
from relay.cli.context import load_settings
from relay.cli.signals import stop_signal
from relay.config.load import secrets


@click.command("work")
@click.option(
    "--grace", default=GRACE, show_default=True, help="Seconds to finish in after SIGTERM."
)
def command(grace: int) -> None:
    """Run deliveries, poll queues and scan until SIGTERM or Ctrl-C, then drain."""
    settings = load_settings()
    configure(sys.stderr, secrets=secrets(settings))
    relay = Relay.open(settings)
    with stop_signal() as stop:
        tune_garbage_collection()
        relay.start_worker()
        stop.wait()
        relay.stop_worker(grace)
        relay.close()
