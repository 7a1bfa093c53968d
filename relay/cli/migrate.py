"""`relay migrate`: upgrades the database schema."""

from __future__ import annotations

import click

from relay.cli.context import load_settings, open_ledger
from relay.cli.output import json_option, print_json


@click.command("migrate")
@json_option
def command(as_json: bool) -> None:
    """Upgrade the database schema to the current version. Does nothing if it is current."""
    with open_ledger(load_settings()) as ledger:
        ledger.administration.ping()
    if as_json:
        print_json({"migrated": True})
    else:
        click.echo("the database is at the newest version")
