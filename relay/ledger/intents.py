"""Records what a call is about to change, before its last bytes are sent; see relay.model.Intent.

Whether a function may have been changed is read from here only, never from how an attempt ended.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)

from relay.intents import Intent, IntentState, NewIntent
from relay.ledger.database import LedgerPart
from relay.ledger.ids import new_id
from relay.ledger.intent_rows import WHAT, close_intents, load_intents
from relay.ledger.queue import CLAIMED, claim_params
from relay.ledger.schema import OPEN_INTENT, TO_CORRECT, deliveries, intents
from relay.model import Claim, State

_COLUMNS = [column for column in intents.c if column.name not in ("closed", "next_question")]


def record_statement(condition: ColumnElement[bool]) -> Insert:
    """Return the statement that inserts an intent under a condition."""
    values = (bindparam(f"new_{column.name}", type_=column.type) for column in _COLUMNS)
    row = select(*values).where(condition)
    insert = intents.insert().from_select([column.name for column in _COLUMNS], row)
    return insert.execution_options(preserve_rowcount=True)


_RECORD = record_statement(exists().where(CLAIMED))
_MARK_TO_CORRECT = (
    update(intents)
    .where(
        intents.c.id.in_(bindparam("ids", expanding=True)),
        exists().where(
            deliveries.c.id == intents.c.delivery_id, deliveries.c.state == State.FAILED
        ),
    )
    .values(next_question=bindparam("now"))
)


class Intents(LedgerPart):
    """Records and closes intents."""

    def record(
        self, claim: Claim, what: NewIntent, now: datetime, settles_after: timedelta
    ) -> Intent | None:
        """Record what the claim's delivery is about to change.

        `settles_after`: after this time, the call can no longer take effect. Returns None, and
        writes nothing, if the claim no longer holds the delivery.
        """
        intent = Intent(new_id(now), claim.delivery.id, what, now, now + settles_after)

        def write(connection: Connection) -> Intent | None:
            row = {f"new_{name}": value for name, value in _row(intent, claim).items()}
            recorded = connection.execute(_RECORD, {**row, **claim_params(claim)})
            return intent if recorded.rowcount == 1 else None

        return self._database.write_grouped(write)

    def close(self, closed: Collection[Intent], state: IntentState, now: datetime) -> None:
        """Close intents. Imports that wait for them are due now."""
        ids = [intent.id for intent in closed if intent.id]
        if not ids:
            return

        def write(connection: Connection) -> None:
            close_intents(self._database, connection, ids, state, now)

        self._database.write_grouped(write)

    def close_of_others(
        self, closed: Collection[Intent], state: IntentState, now: datetime
    ) -> None:
        """Close intents of other deliveries; failed deliveries among these are to be corrected."""
        self.close(closed, state, now)
        ids = [intent.id for intent in closed if intent.id]
        if ids:
            with self._database.write() as connection:
                connection.execute(_MARK_TO_CORRECT, {"ids": ids, "now": now})

    def of_delivery(self, delivery_id: str, run: int) -> tuple[Intent, ...]:
        """Return the open intents of a delivery, and those of this run that were applied or that
        another import has overwritten."""
        with self._database.read() as connection:
            return load_intents(connection, delivery_id, run)

    def take_question(self, now: datetime, every: timedelta) -> str | None:
        """Return a failed delivery with an unknown effect, about which the target should be asked.

        That is one with open intents, or with intents that were closed since by the import of
        another delivery. It is returned again after `every`, to any process.
        """
        query = (
            select(intents.c.delivery_id, intents.c.next_question)
            .join(deliveries, deliveries.c.id == intents.c.delivery_id)
            .where(
                or_(OPEN_INTENT, and_(TO_CORRECT, intents.c.run == deliveries.c.run)),
                deliveries.c.state == State.FAILED,
                func.coalesce(intents.c.next_question, 0) <= now,
            )
            .order_by(func.coalesce(intents.c.next_question, 0))
            .limit(1)
        )
        with self._database.read() as connection:
            if connection.execute(query).first() is None:
                return None
        with self._database.write() as connection:
            self._database.advisory_lock(connection, "questions")
            row = connection.execute(query).first()
            if row is None:
                return None
            of_delivery = intents.c.delivery_id == row.delivery_id
            statement = update(intents).where(of_delivery, or_(OPEN_INTENT, TO_CORRECT))
            connection.execute(statement.values(next_question=now + every))
            return str(row.delivery_id)


def _row(intent: Intent, claim: Claim) -> dict[str, object]:
    what = {name: getattr(intent.what, name) for name in WHAT}
    return {
        **what,
        "id": intent.id,
        "delivery_id": intent.delivery_id,
        "attempt": claim.delivery.attempts,
        "run": claim.delivery.run,
        "fence": claim.fence,
        "destination": claim.delivery.destination,
        "recorded": intent.recorded,
        "settled_at": intent.settled_at,
        "state": intent.state,
    }
