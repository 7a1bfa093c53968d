"""`relay targets`: how each target is doing."""

from __future__ import annotations

import click

from relay.cli.context import configured, opened
from relay.cli.output import ago, json_option, plain, print_json, table
from relay.config.load import Settings
from relay.ledger import Ledger
from relay.model import Json, utc_now
from relay.web.operations import target_states


@click.command("targets")
@json_option
def command(as_json: bool) -> None:
    """Say how each target is doing: open, paused, down, or waiting because it asked for it."""
    settings = configured()
    with opened(settings) as ledger:
        show(settings, ledger, as_json)


def show(settings: Settings, ledger: Ledger, as_json: bool, only: str | None = None) -> None:
    """Prints how every target, or only that one, is doing."""
    told = target_states(settings, ledger.destinations.all(), utc_now())
    chosen = [one for one in told if only in (None, one["name"])]
    if as_json:
        print_json([plain(one) for one in chosen])
    elif chosen:
        table(
            ("target", "kind", "state"), [(one["name"], one["kind"], _words(one)) for one in chosen]
        )
    else:
        click.echo("no targets")


def _words(target: Json) -> str:
    if target["since"]:
        return f"{target['state']} since {ago(target['since'], utc_now())}"
    if target["until"]:
        return f"{target['state']} until {target['until'].isoformat(timespec='seconds')}"
    return str(target["state"])
