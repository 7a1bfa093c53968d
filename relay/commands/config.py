"""`relay config schema`: relay.toml as a JSON Schema, for editors."""

from __future__ import annotations

import click

from relay.commands.printing import print_json
from relay.commands.schema import schema


@click.group("config")
def command() -> None:
    """About the configuration itself."""


@command.command("schema")
def print_schema() -> None:
    """JSON Schema of relay.toml, with the tables of every plug-in that is installed."""
    print_json(schema())
