"""`relay config schema`: relay.toml as a JSON Schema, for editors."""

from __future__ import annotations

import click

from relay.cli.config_schema import schema
from relay.cli.output import json_option, print_json


@click.group("config")
def command() -> None:
    """About the configuration itself."""


@command.command("schema")
@json_option
def print_schema(as_json: bool) -> None:
    """JSON Schema of relay.toml, with the tables of every plug-in that is installed."""
    del as_json  # it is JSON anyway; every command that prints takes the option
    print_json(schema())
