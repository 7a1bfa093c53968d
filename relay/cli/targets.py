"""`relay targets`, `relay pause TARGET` and `relay resume TARGET`."""

from __future__ import annotations

import click

from relay.cli.context import load_settings, open_ledger
from relay.cli.output import format_age, json_option, print_json, print_table
from relay.config.load import Settings
from relay.ledger.destinations import Destinations
from relay.model import Json, Kind, utc_now
from relay.web.operations import check_target, target_states


@click.command("targets")
@json_option
def command(as_json: bool) -> None:
    """Show the state of each target: open, paused, down, or waiting because it asked to wait."""
    settings = load_settings()
    with open_ledger(settings) as ledger:
        _print_states(settings, ledger.destinations, as_json)


@click.command("pause")
@click.argument("target")
@json_option
def pause(target: str, as_json: bool) -> None:
    """Stop deliveries to TARGET until `relay resume`. Deliveries that are running finish."""
    settings = load_settings()
    check_target(settings, target)
    with open_ledger(settings) as ledger:
        ledger.destinations.pause(Kind.IMPORT, target, utc_now())
        _print_states(settings, ledger.destinations, as_json, only=target)


@click.command("resume")
@click.argument("target")
@json_option
def resume(target: str, as_json: bool) -> None:
    """Deliver to TARGET again. Ends a pause, an outage and a wait that the target asked for."""
    settings = load_settings()
    with open_ledger(settings) as ledger:
        check_target(settings, target, ledger.destinations.all())
        ledger.destinations.resume(Kind.IMPORT, target, utc_now())
        _print_states(settings, ledger.destinations, as_json, only=target)


def _print_states(
    settings: Settings, destinations: Destinations, as_json: bool, only: str | None = None
) -> None:
    targets = target_states(settings, destinations.all(), utc_now(), only=only)
    if as_json:
        print_json(targets)
    elif targets:
        rows = [(target["name"], target["kind"], _state_text(target)) for target in targets]
        print_table(("target", "kind", "state"), rows)
    else:
        click.echo("no targets")


def _state_text(target: Json) -> str:
    if target["since"]:
        return f"{target['state']} since {format_age(target['since'], utc_now())}"
    if target["until"]:
        return f"{target['state']} until {target['until'].isoformat(timespec='seconds')}"
    return str(target["state"])
