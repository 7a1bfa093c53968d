"""`relay retrigger ID...`: makes finished deliveries due again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click

from relay.cli.context import load_settings, open_ledger
from relay.cli.main import FAILED
from relay.cli.output import error_as_json, error_text, json_option, print_json, style, visible
from relay.errors import RelayError
from relay.ledger import DeliveryQuery, Ledger
from relay.ledger.history import History
from relay.model import Json, Kind, Localized, Problem, State, utc_now

_NOT_CONFIRMED = Problem(
    "function.newer",
    Localized("The function holds a newer upload", "该函数中已是更新的上传"),
    Localized("Give --yes to overwrite it.", "如需覆盖，请加 --yes。"),
)

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
@click.option("--yes", is_flag=True, help="Overwrite newer uploads without a question.")
@json_option
def command(
    ids: tuple[str, ...], on_conflict: str | None, yes: bool, as_json: bool, **filters: Any
) -> None:
    """Make deliveries due again: those named, or all in a state. A worker then runs them.

    Asks before an older upload overwrites a newer one in a function.
    """
    if bool(ids) == (filters["state"] is not None):
        raise click.UsageError("Give either delivery ids or --state, not both.")
    options = {"on_conflict": on_conflict} if on_conflict else None
    with open_ledger(load_settings()) as ledger:
        delivery_ids = ids or tuple(_matching(ledger.history, filters))
        results = [_retrigger(ledger, id_, options, yes=yes) for id_ in delivery_ids]
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


def newer_import(ledger: Ledger, delivery_id: str, options: Json | None = None) -> Json | None:
    """Return the newer upload that an update by this delivery would overwrite."""
    delivery = ledger.history.delivery(delivery_id)
    if delivery is None or {**delivery.options, **(options or {})}.get("on_conflict") != "update":
        return None
    newer = ledger.functions.overwritten_by(delivery_id)
    return newer.as_json() if newer else None


def confirm_overwrite(newer: Json) -> bool:
    """Ask whether a newer upload may be overwritten; False without a terminal."""
    if not _is_interactive():
        return False
    name = visible(f"{newer['bucket']}/{newer['key']}")
    question = (
        f"The function holds a newer upload: {name}, uploaded {newer['uploaded']}"
        f" (delivery {newer['delivery']}). Overwrite it?"
    )
    return click.confirm(question, err=True)


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _retrigger(
    ledger: Ledger, delivery_id: str, options: dict[str, str] | None, *, yes: bool
) -> dict[str, Any]:
    newer = newer_import(ledger, delivery_id, options)
    if newer and not (yes or confirm_overwrite(newer)):
        return {"id": delivery_id, "overwrites": newer, "error": error_as_json(_NOT_CONFIRMED)}
    try:
        delivery = ledger.retriggers.retrigger(
            delivery_id, utc_now(), options=options, by="command"
        )
    except RelayError as error:
        return {"id": delivery_id, "error": error_as_json(error)}
    overwrites = {"overwrites": newer} if newer else {}
    return {"id": delivery.id, "state": delivery.state, **overwrites}


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
