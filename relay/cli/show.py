"""`relay show ID`: one delivery's story."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from relay.cli.context import configured, opened
from relay.cli.deliveries import as_json_row, in_english
from relay.cli.output import (
    json_option,
    plain,
    print_json,
    span,
    state_word,
    style,
    table,
    visible,
    when,
)
from relay.ledger import Attempt, Ledger, NotFound
from relay.ledger.batching_rules import summarize_message
from relay.model import Delivery, Json, Problem, utc_now


@click.command("show")
@click.argument("delivery_id", metavar="ID")
@json_option
def command(delivery_id: str, as_json: bool) -> None:
    """Tell one delivery's story: its event, its attempts, its result, whom it told."""
    with opened(configured()) as ledger:
        delivery = ledger.history.delivery(delivery_id)
        if delivery is None:
            raise NotFound(
                "delivery.unknown",
                "There is no delivery with this id",
                "`relay deliveries` lists them.",
            )
        attempts = ledger.history.attempts(delivery_id)
        messages = ledger.history.messages(delivery_id)
        if as_json:
            print_json(_as_json(ledger, delivery, attempts, messages))
            return
    now = utc_now()
    for name, words in _story(delivery, now):
        click.echo(f"{style(f'{name:12}', bold=True)} {words}")
    if attempts:
        click.echo()
        table(("TRY", "BY", "STARTED", "TOOK", "OUTCOME", "WHY"), [_row(a, now) for a in attempts])
    if messages:
        click.echo()
        rows = [(m.id, state_word(m), str(m.attempts), visible(m.destination)) for m in messages]
        table(("MESSAGE", "STATE", "TRIES", "TO"), rows)


def _as_json(
    ledger: Ledger, delivery: Delivery, attempts: list[Attempt], messages: list[Delivery]
) -> Json:
    shown = as_json_row(delivery)
    shown["attempts"] = [{**plain(a), "error": in_english(a.error)} for a in attempts]
    shown["event"] = plain(ledger.history.event(delivery.event_id)) if delivery.event_id else None
    shown["messages"] = [as_json_row(message) for message in messages]
    return shown


def _story(delivery: Delivery, now: datetime) -> Iterator[tuple[str, str]]:
    yield "delivery", f"{delivery.id}  {state_word(delivery)}"
    if delivery.reason:
        yield "reason", visible(delivery.reason)
    yield from _about(delivery)
    yield "source", f"{delivery.source}, route {delivery.route or '-'}"
    yield delivery.kind.value, f"to {visible(delivery.destination) or '-'}"
    yield "made", when(delivery.created, now)
    if delivery.due and not delivery.state.finished:
        yield "due", when(delivery.due, now)
    if delivery.finished:
        yield "finished", when(delivery.finished, now)
    for name, value in (delivery.result or {}).items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name, visible(value)
    if delivery.error:
        yield "error", _problem(delivery.error)


def _about(delivery: Delivery) -> Iterator[tuple[str, str]]:
    if told := summarize_message(delivery.message):
        many = f" of {told['count']}" if told["count"] else ""
        yield "message", visible(told["type"] + many)
    if delivery.key:
        yield "object", visible(f"{delivery.bucket}/{delivery.key}")
    if delivery.version:
        yield "version", visible(delivery.version)


def _problem(problem: Problem) -> str:
    return visible(f"{problem.code}: {problem.message.en}. {problem.hint.en}".rstrip())


def _row(attempt: Attempt, now: datetime) -> tuple[str, ...]:
    took = attempt.finished and span((attempt.finished - attempt.started).total_seconds())
    return (
        str(attempt.number),
        attempt.by or attempt.trigger.value,
        when(attempt.started, now),
        took or "",
        attempt.outcome or "running",
        _problem(attempt.error) if attempt.error else "",
    )
