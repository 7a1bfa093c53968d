"""`relay show ID`: shows one delivery in full."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import click

from relay.cli.context import load_settings, open_ledger
from relay.cli.deliveries import delivery_as_json
from relay.cli.output import (
    coloured_state,
    error_as_json,
    error_text,
    format_duration,
    format_time,
    json_option,
    print_json,
    print_table,
    style,
    to_json,
    visible,
)
from relay.cli.result_lines import result_lines
from relay.ledger import Attempt, Configured, NotFound
from relay.ledger.batching_rules import summarize_message
from relay.ledger.history import History
from relay.ledger.values import ExplainedDelivery
from relay.model import Delivery, Json, Problem, utc_now
from relay.web.operations import effect_so_far


@click.command("show")
@click.argument("delivery_id", metavar="ID")
@json_option
def command(delivery_id: str, as_json: bool) -> None:
    """Show one delivery: its attempts, messages and event."""
    settings = load_settings()
    with open_ledger(settings) as ledger:
        history = ledger.history
        delivery = history.delivery(delivery_id)
        if delivery is None:
            raise NotFound(
                "delivery.unknown",
                "There is no delivery with this id",
                "`relay deliveries` lists them.",
            )
        attempts = history.attempts(delivery_id)
        configured, now = Configured.of(settings), utc_now()
        delivery, *messages = ledger.waits.explain(
            [delivery, *history.messages(delivery_id)], configured, now
        )
        effect = effect_so_far(ledger, delivery)
        if as_json:
            print_json({**_as_json(history, delivery, attempts, messages), "effect": effect})
            return
    if effect:
        delivery = replace(delivery, result={**(delivery.result or {}), "effect": effect})
    for name, value in _fields(delivery, now):
        click.echo(f"{style(f'{name:12}', bold=True)} {value}")
    if attempts:
        click.echo()
        rows = [_attempt_row(attempt, now) for attempt in attempts]
        print_table(("TRY", "BY", "STARTED", "TOOK", "OUTCOME", "REASON"), rows)
    if messages:
        click.echo()
        print_table(("MESSAGE", "STATE", "TRIES", "TO"), list(map(_message_row, messages)))


def _as_json(
    history: History, delivery: Delivery, attempts: list[Attempt], messages: Sequence[Delivery]
) -> Json:
    event = history.event(delivery.event_id) if delivery.event_id else None
    return {
        **delivery_as_json(delivery),
        "attempts": [{**to_json(a), "error": a.error and error_as_json(a.error)} for a in attempts],
        "event": to_json(event),
        "messages": [delivery_as_json(message) for message in messages],
    }


def _fields(delivery: ExplainedDelivery, now: datetime) -> Iterator[tuple[str, str]]:
    yield "delivery", f"{delivery.id}  {coloured_state(delivery)}"
    if delivery.reason:
        yield "reason", visible(delivery.reason)
    yield from _subject(delivery)
    yield "source", f"{delivery.source}, route {delivery.route or '-'}"
    yield delivery.kind.value, f"to {visible(delivery.destination) or '-'}"
    yield "created", format_time(delivery.created, now)
    if delivery.due and not delivery.state.finished:
        yield "due", format_time(delivery.due, now)
    if delivery.waiting:
        until = format_time(delivery.waiting.until, now)
        yield "waits", ", until ".join(filter(None, (delivery.waiting.reason.value, until)))
    if delivery.finished:
        yield "finished", format_time(delivery.finished, now)
    for name, value in (delivery.result or {}).items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield name, visible(value)
    yield from result_lines(delivery.result)
    if delivery.error:
        yield "error", _problem_text(delivery.error)


def _subject(delivery: Delivery) -> Iterator[tuple[str, str]]:
    if message := summarize_message(delivery.message):
        count = f" of {message['count']}" if message["count"] else ""
        yield "message", visible(message["type"] + count)
    if delivery.key:
        yield "object", visible(f"{delivery.bucket}/{delivery.key}")
    if delivery.version:
        yield "version", visible(delivery.version)


def _problem_text(problem: Problem) -> str:
    return visible(f"{problem.code}: {error_text(problem.message.en, problem.hint.en)}")


def _attempt_row(attempt: Attempt, now: datetime) -> tuple[str, ...]:
    duration = ""
    if attempt.finished:
        duration = format_duration((attempt.finished - attempt.started).total_seconds())
    return (
        str(attempt.number),
        attempt.by or attempt.trigger.value,
        format_time(attempt.started, now),
        duration,
        attempt.outcome or "running",
        _problem_text(attempt.error) if attempt.error else "",
    )


def _message_row(message: Delivery) -> tuple[str, ...]:
    destination = visible(message.destination)
    return message.id, coloured_state(message), str(message.attempts), destination
