"""`relay work`: the worker alone; any number of them beside each other."""

from __future__ import annotations

import sys

import click

from relay import logs, settings
from relay.commands.context import configured
from relay.commands.stop import stop_signal
from relay.house import House
from relay.server import GRACE, collect_seldom


@click.command("work")
@click.option("--grace", default=GRACE, show_default=True, help="Seconds to end in after SIGTERM.")
def command(grace: int) -> None:
    """Delivers, pulls queues and scans, until SIGTERM or Ctrl-C; then drains."""
    chosen = configured()
    logs.configure(sys.stderr, secrets=settings.secrets(chosen))
    house = House.open(chosen)
    with stop_signal() as stop:
        collect_seldom()
        house.start_worker()
        stop.wait()
        house.stop_worker(grace)
        house.close()
