"""Deliveries of one function: one at a time, and never an older upload over a newer one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Select, bindparam, delete, select

from relay.config.units import RateLimit
from relay.ledger.database import Database, LedgerPart
from relay.ledger.destinations import GateRow
from relay.ledger.identity import CLOCKS, FOUND
from relay.ledger.queue import OURS, change, fence_of
from relay.ledger.rows import AnyRow
from relay.ledger.schema import UNDER_WAY, attempts, deliveries, events, functions, notifications
from relay.model import Claim, Origin, State, Trigger


@dataclass(frozen=True, slots=True)
class UploadPosition:
    """When an object came into being. `found`: its moment is a listing's, rounded to seconds."""

    moment: datetime
    found: bool
    delivery: str
    place: tuple[str, str, str]

    def is_newer(self, other: UploadPosition) -> bool:
        """By the moments; by who came first where they are too close to tell."""
        if self.found == other.found or abs(self.moment - other.moment) > CLOCKS:
            return (self.moment, self.delivery) > (other.moment, other.delivery)
        return self.delivery > other.delivery

    @property
    def key(self) -> str:
        return self.place[-1]


@dataclass(frozen=True, slots=True)
class FunctionLock:
    """What came of the wish to import to a function. `newer`: an upload that is there already and
    that this one must not take the place of."""

    status: Literal["locked", "busy", "lost"]
    newer: UploadPosition | None = None


class FunctionOrder(LedgerPart):
    """Which function a delivery leads to, and what was brought there last."""

    def lock(self, claim: Claim, function: str, rate: RateLimit | None = None) -> FunctionLock:
        """Makes a claimed import the only one of a function at its destination, while it is ours.

        "busy": another is at it. The claim is over as if it had never been, what it took of
        the destination's `rate` included; the delivery is due as it was, and claimed when that one
        has ended. "lost": it is not the claim's any more.
        """

        def write(connection: Connection) -> FunctionLock:
            mine = connection.execute(_CAME_OURS, fence_of(claim)).first()
            if mine is None:
                return FunctionLock("lost")
            if not self._occupy(connection, claim, function, rate):
                return FunctionLock("busy")
            return FunctionLock("locked", _newer(connection, claim, mine, function))

        return self._known(claim, function) or self._database.write_grouped(write)

    def _known(self, claim: Claim, function: str) -> FunctionLock | None:
        """The entry of one whose function was known when it was claimed: it has been alone since
        then, and nothing is to be written."""
        with self._database.read() as connection:
            mine = connection.execute(_CAME_OURS, fence_of(claim)).first()
            if mine is None or mine.function != function:
                return None
            return FunctionLock("locked", _newer(connection, claim, mine, function))

    def _occupy(
        self, connection: Connection, claim: Claim, function: str, rate: RateLimit | None
    ) -> bool:
        # Under the lock of all claims: none may look at what runs in this moment.
        self._database.advisory_lock(connection, "claim")
        this = claim.delivery
        others = UNDER_WAY.where(
            deliveries.c.destination == this.destination,
            deliveries.c.function == function,
            deliveries.c.id != this.id,
        )
        if connection.execute(others.with_only_columns(deliveries.c.id)).first() is None:
            return change(connection, claim, function=function)
        uncounted = {"attempts": deliveries.c.attempts - 1, "tries": deliveries.c.tries - 1}
        waits = {"state": State.PENDING, "owner": None, "leased_until": None}
        if change(connection, claim, function=function, **uncounted, **waits):
            number = attempts.c.number == this.attempts
            connection.execute(delete(attempts).where(attempts.c.delivery_id == this.id, number))
            if rate:
                GateRow(self._database, connection, (this.kind, this.destination)).give_back(rate)
        return False


def _newer(
    connection: Connection, claim: Claim, mine: AnyRow, function: str
) -> UploadPosition | None:
    """What was brought to the function already and is newer than what this import brings.

    None also where a person wants this one; and for the same object: which upload is the newest of
    an object, the storage knows best.
    """
    if claim.delivery.trigger == Trigger.MANUAL or mine.road == Origin.SUBMISSION:
        return None
    there = {"destination": mine.destination, "function": function}
    row = connection.execute(_LAST, there).first()
    if row is None:
        return None
    newest, this = _kept(row), _upload(mine)
    return newest if newest.place != this.place and newest.is_newer(this) else None


def record_imported(database: Database, connection: Connection, delivery_id: str) -> None:
    """Keeps that a delivery's upload is at its function now, if it is the newest that ever was."""
    mine = connection.execute(_CAME_THIS, {"its_id": delivery_id}).first()
    if mine is None or mine.function is None:
        return
    database.advisory_lock(connection, "function", mine.destination, mine.function)
    key = {"destination": mine.destination, "function": mine.function}
    held = connection.execute(_LAST, key).first()
    this = _upload(mine)
    if held is not None and _kept(held).is_newer(this):
        return
    place = dict(zip(("source", "bucket", "key"), this.place, strict=True))
    values = {
        **place,
        "delivery_id": this.delivery,
        "moment": this.moment,
        "found": this.found,
    }
    database.upsert(connection, functions, {**key, **values})


_NAMES = ("id", "destination", "function", "source", "bucket", "key")
_CAME: Select[tuple[object, ...]] = (
    select(
        *(deliveries.c[name] for name in _NAMES),
        *(events.c[name] for name in ("time", "received", "type")),
        notifications.c.road,
    )
    .join(events, events.c.id == deliveries.c.event_id)
    .join(notifications, notifications.c.id == events.c.notification_id)
)
_CAME_OURS, _CAME_THIS = _CAME.where(OURS), _CAME.where(deliveries.c.id == bindparam("its_id"))
_KEY = ("destination", "function")
_LAST = select(functions).where(*(functions.c[name] == bindparam(name) for name in _KEY))


def _upload(row: AnyRow) -> UploadPosition:
    # A clock that is ahead would keep out whatever comes after it: nothing is younger than its
    # news.
    moment = row.received if row.time is None else min(row.time, row.received)
    return UploadPosition(moment, row.type == FOUND, row.id, (row.source, row.bucket, row.key))


def _kept(row: AnyRow) -> UploadPosition:
    return UploadPosition(row.moment, row.found, row.delivery_id, (row.source, row.bucket, row.key))
