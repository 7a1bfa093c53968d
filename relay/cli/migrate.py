"""`relay migrate`: the database to the newest version."""

from __future__ import annotations

import click

from relay.cli.context import configured, opened
from relay.cli.output import json_option, print_json


@click.command("migrate")
@json_option
def command(as_json: bool) -> None:
    """Bring the database to the newest version; does nothing when it is there already."""
    with opened(configured()) as ledger:
        ledger.administration.ping()
    if as_json:
        print_json({"migrated": True})
    else:
        click.echo("the database is at the newest version")
