"""Records the outcome of an attempt, the new state of the delivery and the messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, and_, update

from relay.config.units import RateLimit
from relay.errors import NotNeeded
from relay.ledger.budget import retry_cost
from relay.ledger.database import LedgerPart
from relay.ledger.destinations import GateRow
from relay.ledger.functions import record_imported
from relay.ledger.intent_rows import close_confirmed
from relay.ledger.message_order import store_messages
from relay.ledger.queue import close_attempt, pending_values, update_claimed
from relay.ledger.schema import deliveries, intents, unconfigured
from relay.ledger.values import WaitReason
from relay.model import (
    Claim,
    Delivery,
    Failed,
    Kind,
    NewMessage,
    Outcome,
    Retry,
    Skipped,
    State,
    Succeeded,
)

DestinationChange = Literal["down", "up", "unconfigured"]
FinishResult = DestinationChange | Literal["unchanged"]

Row = dict[str, Any]

_HOLD = timedelta(minutes=1)
"""Longest wait of a whole destination that asked to wait, but not for how long."""

_MAX_ANSWER = 4096
"""Bytes of a response that are stored."""


class Outcomes(LedgerPart):
    """Records the outcomes of attempts."""

    def finish(
        self,
        claim: Claim,
        outcome: Outcome,
        now: datetime,
        *,
        due: datetime | None = None,
        messages: Sequence[NewMessage] = (),
        destination_messages: Callable[[DestinationChange], Sequence[NewMessage]] = lambda _: (),
        rate: RateLimit | None = None,
    ) -> FinishResult | None:
        """Record an outcome and the messages about it, atomically.

        A Retry needs `due`; with `pauses_destination`, the destination waits as well.
        `destination_messages` returns the messages about a destination that goes "down" or comes
        "up", or about a table that is "unconfigured"; it may be called more than once. `rate`:
        that of the destination, of which an attempt without an object takes nothing. Returns the
        change of the destination, or None, and writes nothing, if the claim no longer holds the
        delivery.
        """
        values = _delivery_values(claim.delivery, outcome, now, due)
        delivery = claim.delivery

        def write(connection: Connection) -> FinishResult | None:
            if _holds_destination(outcome):
                # First of all locks: no claim may read the gates at the same time.
                self._database.advisory_lock(connection, "claim")
            if not update_claimed(connection, claim, **values):
                return None
            close_attempt(
                connection,
                delivery.id,
                delivery.attempts,
                outcome.attempt_outcome,
                now,
                error=values["error"],
                answer=_cut(None if isinstance(outcome, Skipped) else outcome.answer),
            )
            if delivery.kind == Kind.IMPORT:
                self._record_import(connection, delivery, outcome, now)
            gate = GateRow(self._database, connection, (delivery.kind, delivery.destination))
            change = _update_gate(gate, outcome, due, now)
            if rate and isinstance(outcome, Retry) and outcome.missing_since:
                gate.refund(rate)
            if isinstance(outcome, Retry) and outcome.not_configured:
                row = {"path": outcome.not_configured, "since": now}
                is_new = self._database.insert_new(connection, unconfigured, row)
                change = "unconfigured" if is_new else change
            store_messages(self._database, connection, messages, now, delivery)
            if change:
                about_destination = destination_messages(change)
                store_messages(self._database, connection, about_destination, now)
            return change or "unchanged"

        return self._database.write_grouped(write)

    def correct(
        self,
        delivery: Delivery,
        outcome: Succeeded | Failed,
        now: datetime,
        messages: Sequence[NewMessage],
    ) -> bool:
        """Replace the outcome of a delivery that failed with an unknown effect, atomically.

        Writes nothing and returns False if it was retriggered meanwhile.
        """
        values = _delivery_values(delivery, outcome, now, None)
        is_same = and_(
            deliveries.c.id == delivery.id,
            deliveries.c.fence == delivery.fence,
            deliveries.c.state == State.FAILED,
        )
        with self._database.write() as connection:
            statement = update(deliveries).where(is_same).values(**values)
            if not connection.execute(statement).rowcount:
                return False
            self._record_import(connection, delivery, outcome, now)
            corrected = intents.c.delivery_id == delivery.id
            connection.execute(update(intents).where(corrected).values(next_question=None))
            store_messages(self._database, connection, messages, now, delivery)
        return True

    def _record_import(
        self, connection: Connection, delivery: Delivery, outcome: Outcome, now: datetime
    ) -> None:
        if isinstance(outcome, Succeeded):
            close_confirmed(self._database, connection, delivery, now)
        if _is_at_destination(outcome):
            record_imported(self._database, connection, delivery.id)


def _is_at_destination(outcome: Outcome) -> bool:
    """Return whether the destination holds the content of the delivery."""
    is_unchanged = isinstance(outcome, Skipped) and outcome.reason == NotNeeded.reason
    return isinstance(outcome, Succeeded) or is_unchanged


def _holds_destination(outcome: Outcome) -> bool:
    return isinstance(outcome, Retry) and outcome.pauses_destination


def _update_gate(
    gate: GateRow, outcome: Outcome, due: datetime | None, now: datetime
) -> DestinationChange | None:
    """Update the gate by an outcome. Returns the change of the destination, if any.

    An attempt that did not reach the destination changes nothing.
    """
    if isinstance(outcome, Retry) and outcome.pauses_destination and due is not None:
        asked = outcome.retry_after
        gate.hold(min(due, now + _HOLD) if asked is None else now + asked)
    if isinstance(outcome, Succeeded):
        return "up" if gate.record_response() else None
    if outcome.destination_failing:
        return "down" if gate.record_failure(now) else None
    if outcome.responded or _holds_destination(outcome) or _is_at_destination(outcome):
        return "up" if gate.record_response() else None
    return None


def _delivery_values(
    delivery: Delivery, outcome: Outcome, now: datetime, due: datetime | None
) -> dict[str, Any]:
    if isinstance(outcome, Retry):
        if due is None:
            raise ValueError("a retry needs the time of the next attempt")
        cost = retry_cost(delivery, outcome, now, due)
        missing = {"missing_since": outcome.missing_since}
        waits = {"wait_reason": _wait_reason(outcome), "error": outcome.problem.to_json()}
        effect = outcome.result.get("effect")
        changed = {"result": {"effect": effect}} if effect else {}
        return {**pending_values(due), **cost, **missing, **waits, **changed}
    finished = {"due": None, "owner": None, "leased_until": None, "finished": now}
    finished |= {"missing_since": None, "gave_up": None}
    match outcome:
        case Succeeded(result):
            return {**finished, "state": State.SUCCEEDED, "result": result, "error": None}
        case Skipped(reason, result):
            skipped = {"state": State.SKIPPED, "reason": reason, "result": result, "error": None}
            return {**finished, **skipped}
        case Failed(problem, _, result, gave_up):
            failed = {"state": State.FAILED, "error": problem.to_json(), "result": result or None}
            return {**finished, **failed, "gave_up": gave_up}


def _wait_reason(outcome: Retry) -> WaitReason:
    if outcome.not_configured:
        return WaitReason.NOT_CONFIGURED
    asked = outcome.asked_to_wait and not (outcome.is_probe and outcome.retry_after is None)
    return WaitReason.ASKED_TO_WAIT if asked else WaitReason.BACKOFF


def _cut(answer: str | None) -> str | None:
    if answer is None:
        return None
    return answer.encode("utf-8", "surrogatepass")[:_MAX_ANSWER].decode("utf-8", "ignore")
