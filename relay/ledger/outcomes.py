"""Recording: an attempt's outcome, the delivery's new state and its messages, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection

from relay.errors import NotNeeded
from relay.ledger.database import LedgerPart
from relay.ledger.destinations import GateRow
from relay.ledger.functions import record_imported
from relay.ledger.ids import new_id
from relay.ledger.queue import change, close_attempt, idle
from relay.ledger.schema import deliveries
from relay.model import (
    AttemptOutcome,
    Claim,
    Failed,
    Kind,
    NewMessage,
    Outcome,
    Retry,
    Skipped,
    State,
    Succeeded,
    Trigger,
)

DestinationChange = Literal["down", "up"]

_ANSWER = 4096
"""Bytes of an answer that are kept."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An outcome that was recorded. `change`: what the destination became by it, if anything."""

    change: DestinationChange | None = None


class Outcomes(LedgerPart):
    """How deliveries end, or go on."""

    def finish(  # noqa: PLR0913 - what is recorded together
        self,
        claim: Claim,
        outcome: Outcome,
        now: datetime,
        *,
        due: datetime | None = None,
        messages: Sequence[NewMessage] = (),
        destination_messages: Callable[[DestinationChange], Sequence[NewMessage]] = lambda _: (),
    ) -> Recorded | None:
        """Records an outcome, with the messages that tell of it, in one transaction.

        A Retry needs `due`; with `hold`, its kind and destination waits until then as well.
        `turns` gives the messages about the destination when by this outcome it counts as "down",
        or is "up" again: once for each such change. It may be asked more than once.
        None, and nothing is written, when the delivery is not the claim's any more.
        """
        values = _new_values(outcome, now, due)

        def write(connection: Connection) -> Recorded | None:
            if _holds(outcome):
                # Before anything is locked; and none may look at the gates in this moment.
                self._database.advisory_lock(connection, "claim")
            if not change(connection, claim, **values):
                return None
            close_attempt(
                connection,
                claim.delivery.id,
                claim.delivery.attempts,
                outcome.attempt_outcome,
                now,
                error=values["error"],
                answer=_cut(None if isinstance(outcome, Skipped) else outcome.answer),
            )
            if claim.delivery.kind == Kind.IMPORT and _is_there(outcome):
                record_imported(self._database, connection, claim.delivery.id)
            lane = claim.delivery.kind, claim.delivery.destination
            turned = _turn(GateRow(self._database, connection, lane), outcome, due, now)
            rows = [_message_row(claim, message, now) for message in messages]
            rows += [
                standalone_message_row(message, now)
                for message in (destination_messages(turned) if turned else ())
            ]
            if rows:
                connection.execute(deliveries.insert(), rows)
                self._database.notify_workers(connection)
            return Recorded(turned)

        return self._database.write_grouped(write)

    def release_hung(self, claim: Claim, now: datetime) -> bool:
        """Gives a delivery back whose thread has shown no sign for long: it is due now, and the try
        counts. False: it is not the claim's any more."""
        with self._database.write() as connection:
            if not change(connection, claim, **idle(now)):
                return False
            ended = claim.delivery.id, claim.delivery.attempts, AttemptOutcome.HUNG
            close_attempt(connection, *ended, now)
            return True


def _is_there(outcome: Outcome) -> bool:
    """Whether the destination holds what was to be brought there."""
    unchanged = isinstance(outcome, Skipped) and outcome.reason == NotNeeded.reason
    return isinstance(outcome, Succeeded) or unchanged


def _holds(outcome: Outcome) -> bool:
    return isinstance(outcome, Retry) and outcome.hold


def _turn(
    gate: GateRow, outcome: Outcome, due: datetime | None, now: datetime
) -> DestinationChange | None:
    """Moves the gate by what came of a delivery; whether the destination went down or up by it.

    What never reached the destination says nothing about it: then nothing moves.
    """
    if _holds(outcome) and due is not None:
        gate.hold(due)
    met = None if isinstance(outcome, Succeeded) else outcome
    if met and met.unwell:
        return "down" if gate.failed(now) else None
    if met is None or met.reached or _holds(met) or _is_there(met):
        return "up" if gate.answered() else None
    return None


def _new_values(outcome: Outcome, now: datetime, due: datetime | None) -> dict[str, Any]:
    if isinstance(outcome, Retry):
        if due is None:
            raise ValueError("a retry without a time to retry at is a failure")
        counted = {} if outcome.counts else {"tries": deliveries.c.tries - 1}
        return {**idle(due), **counted, "error": outcome.problem.to_json()}
    over = {"due": None, "owner": None, "leased_until": None, "finished": now}
    match outcome:
        case Succeeded(result):
            return {**over, "state": State.SUCCEEDED, "result": result, "error": None}
        case Skipped(reason, result):
            skipped = {"state": State.SKIPPED, "reason": reason, "result": result, "error": None}
            return {**over, **skipped}
        case Failed(problem, _, result):
            failed = {"state": State.FAILED, "error": problem.to_json(), "result": result or None}
            return {**over, **failed}


def _cut(answer: str | None) -> str | None:
    if answer is None:
        return None
    return answer.encode("utf-8", "surrogatepass")[:_ANSWER].decode("utf-8", "ignore")


def _message_row(claim: Claim, message: NewMessage, now: datetime) -> dict[str, Any]:
    told = claim.delivery
    return {
        "id": new_id(now),
        "kind": Kind.MESSAGE,
        "state": State.PENDING,
        "source": told.source,
        "route": told.route,
        "bucket": told.bucket,
        "key": told.key,
        "version": told.version,
        "destination": message.channel,
        "event_id": told.event_id,
        "parent": told.id,
        "created": now,
        "due": now,
        "trigger": Trigger.AUTOMATIC,
        "options": {},
        "channels": [],
        "message_type": message.type,
        "message": {"type": message.type, "body": message.body},
    }


def standalone_message_row(message: NewMessage, now: datetime) -> dict[str, Any]:
    """The row of a message that tells of no single delivery, and so of no object."""
    return {
        "id": new_id(now),
        "kind": Kind.MESSAGE,
        "state": State.PENDING,
        **dict.fromkeys(("source", "route", "bucket", "key"), ""),
        "version": None,
        "destination": message.channel,
        "event_id": None,
        "parent": None,
        "created": now,
        "due": now,
        "trigger": Trigger.AUTOMATIC,
        "options": {},
        "channels": [],
        "message_type": message.type,
        "message": {"type": message.type, "body": message.body},
    }
