"""`relay retrigger ID...`: makes finished deliveries due again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from relay.cli.context import load_settings, open_ledger
from relay.cli.main import FAILED
from relay.cli.output import error_as_json, error_text, json_option, print_json, style
from relay.errors import RelayError
from relay.ledger import DeliveryQuery
from relay.ledger.history import History
from relay.ledger.retriggers import Retriggers
from relay.model import Kind, State, utc_now

FINISHED = [state.value for state in State if state.finished]


@click.command("retrigger")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--state", type=click.Choice(FINISHED), help="All deliveries in this state.")
@click.option("--source", help="With --state: only deliveries of this source.")
@click.option("--route", help="With --state: only deliveries of this route.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in Kind]),
    help="With --state: only deliveries of this kind.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(["skip", "fail", "update", "rename"]),
    help="Overrides the setting of the route.",
)
@json_option
def command(ids: tuple[str, ...], on_conflict: str | None, as_json: bool, **filters: Any) -> None:
    """Make deliveries due again: those named, or all in a state. A worker then runs them."""
    if bool(ids) == (filters["state"] is not None):
        raise click.UsageError("Give either delivery ids or --state, not both.")
    options = {"on_conflict": on_conflict} if on_conflict else None
    with open_ledger(load_settings()) as ledger:
        delivery_ids = ids or tuple(_matching(ledger.history, filters))
        results = [_retrigger(ledger.retriggers, id_, options) for id_ in delivery_ids]
    if as_json:
        print_json(results)
    else:
        _print(results)
    raise SystemExit(FAILED if any("error" in result for result in results) else 0)


def _matching(history: History, filters: dict[str, Any]) -> Iterator[str]:
    kind = Kind(filters["kind"]) if filters["kind"] else None
    query = DeliveryQuery(**{**filters, "state": State(filters["state"]), "kind": kind}, limit=200)
    while True:
        page = history.deliveries(query)
        yield from (delivery.id for delivery in page.items)
        if not page.next_cursor:
            return
        query = replace(query, cursor=page.next_cursor)


def _retrigger(
    retriggers: Retriggers, delivery_id: str, options: dict[str, str] | None
) -> dict[str, Any]:
    try:
        delivery = retriggers.retrigger(delivery_id, utc_now(), options=options, by="command")
    except RelayError as error:
        return {"id": delivery_id, "error": error_as_json(error)}
    return {"id": delivery.id, "state": delivery.state}


def _print(results: list[dict[str, Any]]) -> None:
    for result in results:
        if "error" in result:
            error = result["error"]
            text = error_text(error["message"], error["hint"])
            click.echo(f"{result['id']}  {style('not', fg='red')}  {text}")
        else:
            click.echo(f"{result['id']}  {style('due now', fg='green')}")
    if not results:
        click.echo("no such deliveries")
