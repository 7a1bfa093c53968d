"""`relay pause TARGET`."""

from __future__ import annotations

import click

from relay.cli.context import configured, opened
from relay.cli.output import json_option
from relay.cli.targets import show
from relay.model import Kind, utc_now
from relay.web.operations import check_target


@click.command("pause")
@click.argument("target")
@json_option
def command(target: str, as_json: bool) -> None:
    """Deliver nothing to TARGET until `relay resume`; what is under way ends."""
    settings = configured()
    check_target(settings, target)
    with opened(settings) as ledger:
        ledger.destinations.pause(Kind.IMPORT, target, utc_now())
        show(settings, ledger, as_json, only=target)
