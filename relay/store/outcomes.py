"""Recording: an attempt's outcome, the delivery's new state and its messages, all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case

from relay.model import (
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
    new_id,
)
from relay.store.claims import change, close_attempt, idle
from relay.store.engine import Part
from relay.store.schema import deliveries, holds

_ANSWER = 4096
"""Bytes of an answer that are kept."""


class Outcomes(Part):
    """How deliveries end, or go on."""

    def finish(
        self,
        claim: Claim,
        outcome: Outcome,
        now: datetime,
        *,
        due: datetime | None = None,
        messages: Sequence[NewMessage] = (),
    ) -> bool:
        """Records an outcome, with the messages that tell of it, in one transaction.

        A Retry needs `due`; with `hold`, its kind and destination waits until then as well.
        False, and nothing is written, when the delivery is not the claim's any more.
        """
        values = _new_values(outcome, now, due)

        def write(connection: Connection) -> bool:
            if not change(connection, claim, **values):
                return False
            close_attempt(
                connection,
                claim.delivery.id,
                claim.delivery.attempts,
                _word(outcome),
                now,
                error=values["error"],
                answer=_cut(None if isinstance(outcome, Skipped) else outcome.answer),
            )
            if isinstance(outcome, Retry) and outcome.hold and due is not None:
                self._hold(connection, claim, due)
            if messages:
                rows = [_message(claim, message, now) for message in messages]
                connection.execute(deliveries.insert(), rows)
            return True

        return self._database.together(write)

    def _hold(self, connection: Connection, claim: Claim, until: datetime) -> None:
        lane = {"kind": claim.delivery.kind, "destination": claim.delivery.destination}
        insert = self._database.insert(holds).values(**lane, until=until)
        asked = insert.excluded.until
        later = case((asked > holds.c.until, asked), else_=holds.c.until)
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=[holds.c.kind, holds.c.destination], set_={"until": later}
            )
        )


def _new_values(outcome: Outcome, now: datetime, due: datetime | None) -> dict[str, Any]:
    if isinstance(outcome, Retry):
        if due is None:
            raise ValueError("a retry without a time to retry at is a failure")
        return {**idle(due), "error": outcome.problem.to_json()}
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


def _word(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()


def _cut(answer: str | None) -> str | None:
    if answer is None:
        return None
    return answer.encode("utf-8", "surrogatepass")[:_ANSWER].decode("utf-8", "ignore")


def _message(claim: Claim, message: NewMessage, now: datetime) -> dict[str, Any]:
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
        "message": {"type": message.type, "body": message.body},
    }
