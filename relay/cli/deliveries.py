"""`relay deliveries`: the newest deliveries, or those that match."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from relay.cli.context import configured, opened
from relay.cli.output import Moment, ago, json_option, plain, print_json, state_word, table, visible
from relay.ledger import DeliveryQuery, Page
from relay.ledger.batching_rules import summarize_message
from relay.model import Delivery, Json, Kind, Problem, State, utc_now

_LONGEST_KEY = 60


@click.command("deliveries")
@click.option("--state", type=click.Choice([one.value for one in State]))
@click.option("--kind", type=click.Choice([one.value for one in Kind]))
@click.option("--source", help="The name of a source.")
@click.option("--route", help="The name of a route.")
@click.option("--bucket")
@click.option("--key", help="A glob, as in routes.")
@click.option("--since", type=Moment(), help='Made since: "2d" ago, or a date.')
@click.option("--until", type=Moment(), help="Made before.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="Where an earlier page said that the next one starts.")
@json_option
def command(as_json: bool, **filters: Any) -> None:
    """List deliveries, newest first."""
    query = DeliveryQuery(**_typed(filters))
    with opened(configured()) as ledger:
        page = ledger.history.deliveries(query)
    if as_json:
        print_json(
            {"items": [as_json_row(one) for one in page.items], "next_cursor": page.next_cursor}
        )
    else:
        _print(page, utc_now())


def as_json_row(delivery: Delivery) -> Json:
    """A delivery as JSON, as `GET /api/v1/deliveries` gives it, its error in English."""
    shown: Json = plain(delivery)
    shown["error"] = in_english(delivery.error)
    shown["message"] = summarize_message(delivery.message)
    for inner in ("owner", "fence", "run"):
        shown.pop(inner, None)
    return shown


def in_english(problem: Problem | None) -> Json | None:
    """A problem as JSON, in the one language of the command line."""
    if problem is None:
        return None
    return {"code": problem.code, "message": problem.message.en, "hint": problem.hint.en}


def _typed(filters: dict[str, Any]) -> dict[str, Any]:
    types = {"state": State, "kind": Kind}
    return {
        name: types[name](value) if name in types and value is not None else value
        for name, value in filters.items()
    }


def _print(page: Page[Delivery], now: datetime) -> None:
    rows = [_row(delivery, now) for delivery in page.items]
    if not rows:
        click.echo("no deliveries")
        return
    table(("ID", "STATE", "KIND", "OBJECT", "TO", "TRIES", "MADE", "WHY"), rows)
    if page.next_cursor:
        click.echo(f"\nmore: --cursor {page.next_cursor}")


def _row(delivery: Delivery, now: datetime) -> Sequence[str]:
    made = f"{delivery.created:%Y-%m-%d %H:%M}Z, {ago(delivery.created, now)}"
    why = delivery.error.code if delivery.error else delivery.reason or ""
    return (
        delivery.id,
        state_word(delivery),
        delivery.kind.value,
        _short(visible(f"{delivery.bucket}/{delivery.key}")),
        visible(delivery.destination) or "-",
        str(delivery.attempts),
        made,
        visible(why),
    )


def _short(text: str) -> str:
    # The end of a key tells more than its middle.
    half = _LONGEST_KEY // 2
    return text if len(text) <= _LONGEST_KEY else f"{text[: half - 1]}…{text[-half:]}"
