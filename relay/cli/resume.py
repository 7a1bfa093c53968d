"""`relay resume TARGET`."""

from __future__ import annotations

import click

from relay.cli.context import configured, opened
from relay.cli.output import json_option
from relay.cli.targets import show
from relay.model import Kind
from relay.web.operations import check_target


@click.command("resume")
@click.argument("target")
@json_option
def command(target: str, as_json: bool) -> None:
    """Deliver to TARGET again: ends a pause, and forgets that it asked to wait or was down."""
    settings = configured()
    check_target(settings, target)
    with opened(settings) as ledger:
        ledger.destinations.resume(Kind.IMPORT, target)
        show(settings, ledger, as_json, only=target)
