"""`relay deliveries`: lists deliveries, and the JSON form of a delivery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from relay.cli.context import load_settings, open_ledger
from relay.cli.output import (
    coloured_state,
    error_as_json,
    format_age,
    json_option,
    point_in_time,
    print_json,
    print_table,
    to_json,
    visible,
)
from relay.ledger import Configured, DeliveryQuery, Page
from relay.ledger.batching_rules import summarize_message
from relay.ledger.values import ExplainedDelivery, Waiting
from relay.model import Delivery, Json, Kind, State, utc_now

_LONGEST_KEY = 60


@click.command("deliveries")
@click.option("--state", type=click.Choice([state.value for state in State]))
@click.option("--kind", type=click.Choice([kind.value for kind in Kind]))
@click.option("--source", help="The name of a source.")
@click.option("--route", help="The name of a route.")
@click.option("--bucket")
@click.option("--key", help="A glob, as in routes.")
@click.option(
    "--since",
    type=point_in_time,
    metavar="WHEN",
    help='Created since: an age such as "2d", or a date.',
)
@click.option("--until", type=point_in_time, metavar="WHEN", help="Created before.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True)
@click.option("--cursor", help="Start of the page, as printed below the previous page.")
@json_option
def command(as_json: bool, state: str | None, kind: str | None, **filters: Any) -> None:
    """List deliveries, newest first."""
    query = DeliveryQuery(
        state=State(state) if state else None, kind=Kind(kind) if kind else None, **filters
    )
    settings, now = load_settings(), utc_now()
    with open_ledger(settings) as ledger:
        page = ledger.history.deliveries(query)
        items = ledger.waits.explain(page.items, Configured.of(settings), now)
    if as_json:
        rows = [delivery_as_json(delivery) for delivery in items]
        print_json({"items": rows, "next_cursor": page.next_cursor})
    else:
        _print(Page(items, page.next_cursor), now)


def delivery_as_json(delivery: Delivery) -> Json:
    """Return a delivery as `GET /api/v1/deliveries` does, with the error in English."""
    row: Json = to_json(delivery)
    row["error"] = delivery.error and error_as_json(delivery.error)
    row["message"] = summarize_message(delivery.message)
    for internal in ("owner", "fence", "run"):
        row.pop(internal, None)
    return row


def _print(page: Page[ExplainedDelivery], now: datetime) -> None:
    rows = [_row(delivery, now) for delivery in page.items]
    if not rows:
        click.echo("no deliveries")
        return
    print_table(("ID", "STATE", "KIND", "OBJECT", "TO", "TRIES", "CREATED", "REASON"), rows)
    if page.next_cursor:
        click.echo(f"\nmore: --cursor {page.next_cursor}")


def _row(delivery: ExplainedDelivery, now: datetime) -> Sequence[str]:
    created = f"{delivery.created:%Y-%m-%d %H:%M}Z, {format_age(delivery.created, now)}"
    reason = delivery.error.code if delivery.error else delivery.reason or ""
    if delivery.waiting:
        waits = waiting_text(delivery.waiting, now)
        reason = f"{waits} ({reason})" if reason else waits
    return (
        delivery.id,
        coloured_state(delivery),
        delivery.kind.value,
        _shorten(visible(f"{delivery.bucket}/{delivery.key}")),
        visible(delivery.destination) or "-",
        str(delivery.attempts),
        created,
        visible(reason),
    )


def waiting_text(waiting: Waiting, now: datetime) -> str:
    """Return why a delivery waits: "backoff, in 3 min"."""
    return ", ".join(filter(None, (waiting.reason.value, format_age(waiting.until, now))))


def _shorten(text: str) -> str:
    # Cut the middle: the end of a key identifies the object.
    half = _LONGEST_KEY // 2
    return text if len(text) <= _LONGEST_KEY else f"{text[: half - 1]}…{text[-half:]}"
