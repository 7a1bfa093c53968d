"""Orders the imports of a function: no two at once, and never an older upload over a newer one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, Select, bindparam, func, select

from relay.config.units import RateLimit
from relay.intents import Intent
from relay.ledger.database import Database, LedgerPart
from relay.ledger.destinations import GateRow
from relay.ledger.identity import FOUND, TOLERANCE
from relay.ledger.intent_rows import unsettled_intents_of_others
from relay.ledger.queue import CLAIMED, claim_params, undo_claim, update_claimed
from relay.ledger.rows import AnyRow
from relay.ledger.schema import (
    UNDER_WAY,
    attempts,
    deliveries,
    events,
    functions,
    notifications,
)
from relay.ledger.values import WaitReason
from relay.model import AttemptOutcome, Claim, Json, Origin, State, Trigger


@dataclass(frozen=True, slots=True)
class UploadPosition:
    """The position of an upload in time. `found`: a listing gave the time, rounded to seconds."""

    moment: datetime
    found: bool
    delivery: str
    source_object: tuple[str, str, str]

    def is_newer(self, other: UploadPosition) -> bool:
        """Compare the times within a source, or the order of arrival if they are too close.

        Between sources, the order of arrival decides: the clocks of two storages may differ.
        """
        if self.source != other.source:
            return self.delivery > other.delivery
        if self.found == other.found or abs(self.moment - other.moment) > TOLERANCE:
            return (self.moment, self.delivery) > (other.moment, other.delivery)
        return self.delivery > other.delivery

    def stored(self) -> Json:
        """Return the position as it is stored under the name of its source."""
        _, bucket, key = self.source_object
        values = {"delivery": self.delivery, "bucket": bucket, "key": key}
        return {**values, "moment": self.moment.isoformat(), "found": self.found}

    @classmethod
    def of_stored(cls, source: str, values: Json) -> UploadPosition:
        moment = datetime.fromisoformat(values["moment"])
        source_object = source, values["bucket"], values["key"]
        return cls(moment, values["found"], values["delivery"], source_object)

    def as_json(self) -> Json:
        source, bucket, key = self.source_object
        uploaded = self.moment.isoformat(timespec="seconds")
        return {
            "delivery": self.delivery,
            "source": source,
            "bucket": bucket,
            "key": key,
            "uploaded": uploaded,
        }

    @property
    def source(self) -> str:
        return self.source_object[0]

    @property
    def key(self) -> str:
        return self.source_object[-1]


@dataclass(frozen=True, slots=True)
class FunctionLock:
    """The result of locking a function for an import.

    `newer`: an upload that was already imported and must not be overwritten by this import.
    `earlier`: open intents of other deliveries for the function, which can no longer take effect.
    """

    status: Literal["locked", "busy", "lost"]
    newer: UploadPosition | None = None
    earlier: tuple[Intent, ...] = ()


class FunctionOrder(LedgerPart):
    """Locks functions for imports."""

    def lock(
        self, claim: Claim, function: str, now: datetime, rate: RateLimit | None = None
    ) -> FunctionLock:
        """Make a claimed import the only running import of a function at a destination.

        "busy": another import of the function is running, or a call of another delivery may still
        take effect. The claim is undone, and the share of the destination's `rate` refunded; the
        delivery is due as before, and will be claimed after the other import, or when the call can
        no longer take effect. "lost": the claim no longer holds the delivery.
        """

        def write(connection: Connection) -> FunctionLock:
            upload = connection.execute(_CLAIMED_UPLOAD, claim_params(claim)).first()
            if upload is None:
                return FunctionLock("lost")
            earlier = self._occupy(connection, claim, function, now, rate)
            if earlier is None:
                return FunctionLock("busy")
            newer = _newer_import(connection, claim, upload, function)
            return FunctionLock("locked", newer, earlier)

        return self._lock_of_claim(claim, function, now) or self._database.write_grouped(write)

    def overwritten_by(self, delivery_id: str) -> UploadPosition | None:
        """Return the newer upload in the function that an import of a delivery would overwrite.

        None if the function is not known, or if the import ran already after the newer one. Past
        imports count, even if one of the deliveries is pending again.
        """
        with self._database.read() as connection:
            row = connection.execute(_UPLOAD_OF_DELIVERY, {"this_id": delivery_id}).first()
            if row is None or row.function is None:
                return None
            this = _upload_position(row)
            newer = [
                imported
                for imported in _imported(connection, row.destination, row.function)
                if imported.delivery != row.id and imported.is_newer(this)
            ]
            newest = max(newer, key=lambda imported: imported.delivery, default=None)
            if newest is None:
                return None
            own_end = _last_import(connection, row.id)
            other_end = _last_import(connection, newest.delivery)
        is_over = own_end is not None and other_end is not None and own_end > other_end
        return None if is_over else newest

    def _lock_of_claim(self, claim: Claim, function: str, now: datetime) -> FunctionLock | None:
        """Return the lock that the claim already took, if the function was known at that time."""
        with self._database.read() as connection:
            upload = connection.execute(_CLAIMED_UPLOAD, claim_params(claim)).first()
            if upload is None or upload.function != function:
                return None
            earlier = unsettled_intents_of_others(
                connection, upload.destination, function, upload.id, now
            )
            if any(intent.settled_at > now for intent in earlier):
                return None
            newer = _newer_import(connection, claim, upload, function)
            return FunctionLock("locked", newer, earlier)

    def _occupy(
        self,
        connection: Connection,
        claim: Claim,
        function: str,
        now: datetime,
        rate: RateLimit | None,
    ) -> tuple[Intent, ...] | None:
        """Take the lock and return the open intents of others; None: the claim was undone."""
        # Under the lock of all claims: no claim may read the running deliveries at the same time.
        self._database.advisory_lock(connection, "claim")
        delivery = claim.delivery
        others = UNDER_WAY.where(
            deliveries.c.destination == delivery.destination,
            deliveries.c.function == function,
            deliveries.c.id != delivery.id,
        )
        is_running = connection.execute(others.with_only_columns(deliveries.c.id)).first()
        earlier = unsettled_intents_of_others(
            connection, delivery.destination, function, delivery.id, now
        )
        settled_at = max((intent.settled_at for intent in earlier), default=now)
        if is_running is None and settled_at <= now:
            return earlier if update_claimed(connection, claim, function=function) else None
        pending: dict[str, object] = {"state": State.PENDING, "owner": None, "leased_until": None}
        if is_running is None:
            pending |= {"due": settled_at, "wait_reason": WaitReason.SAME_FUNCTION}
        if undo_claim(connection, claim, function=function, **pending) and rate:
            destination = delivery.kind, delivery.destination
            GateRow(self._database, connection, destination).refund(rate)
        return None


def record_imported(database: Database, connection: Connection, delivery_id: str) -> None:
    """Store the upload of a delivery as the newest of the function and source, unless it is not.

    The row is also read and written by an older Relay, which compares the last upload only.
    """
    row = connection.execute(_UPLOAD_OF_DELIVERY, {"this_id": delivery_id}).first()
    if row is None or row.function is None or _makes_a_copy(row):
        return
    database.advisory_lock(connection, "function", row.destination, row.function)
    upload = _upload_position(row)
    imported = {
        newest.source: newest for newest in _imported(connection, row.destination, row.function)
    }
    current = imported.get(upload.source)
    if current is not None and current.is_newer(upload):
        return
    imported[upload.source] = upload
    key = {"destination": row.destination, "function": row.function}
    source_object = dict(zip(("source", "bucket", "key"), upload.source_object, strict=True))
    values = {"delivery_id": upload.delivery, "moment": upload.moment, "found": upload.found}
    sources = {"sources": {name: newest.stored() for name, newest in imported.items()}}
    database.upsert(connection, functions, {**key, **source_object, **values, **sources})


_DELIVERY_COLUMNS = ("id", "destination", "function", "source", "bucket", "key", "options")
_UPLOAD: Select[tuple[object, ...]] = (
    select(
        *(deliveries.c[name] for name in _DELIVERY_COLUMNS),
        *(events.c[name] for name in ("time", "received", "type")),
        notifications.c.origin,
    )
    .join(events, events.c.id == deliveries.c.event_id)
    .join(notifications, notifications.c.id == events.c.notification_id)
)
_CLAIMED_UPLOAD = _UPLOAD.where(CLAIMED)
_UPLOAD_OF_DELIVERY = _UPLOAD.where(deliveries.c.id == bindparam("this_id"))
_KEY = ("destination", "function")
_IMPORTED = select(functions).where(*(functions.c[name] == bindparam(name) for name in _KEY))


def _newer_import(
    connection: Connection, claim: Claim, upload: AnyRow, function: str
) -> UploadPosition | None:
    """Return the upload that was imported to the function, if it is newer than this import.

    Returns None for a manual run or a submission, which may import older uploads. Also for the same
    object, because only the storage knows the newest upload.
    """
    is_wanted = claim.delivery.trigger == Trigger.MANUAL or upload.origin == Origin.SUBMISSION
    if is_wanted or _makes_a_copy(upload):
        return None
    this = _upload_position(upload)
    newer = [
        imported
        for imported in _imported(connection, upload.destination, function)
        if imported.source_object != this.source_object and imported.is_newer(this)
    ]
    return max(newer, key=lambda imported: imported.delivery, default=None)


def _last_import(connection: Connection, delivery_id: str) -> datetime | None:
    """Return when an attempt of a delivery last succeeded, or an unknown effect was confirmed."""
    succeeded = attempts.c.outcome == AttemptOutcome.SUCCEEDED
    ends = (
        select(func.max(attempts.c.finished)).where(
            attempts.c.delivery_id == delivery_id, succeeded
        ),
        select(deliveries.c.finished).where(
            deliveries.c.id == delivery_id, deliveries.c.state == State.SUCCEEDED
        ),
    )
    found = [connection.execute(query).scalar() for query in ends]
    return max((end for end in found if end is not None), default=None)


def _makes_a_copy(row: AnyRow) -> bool:
    """Return whether the import leaves the function as it is and makes another one."""
    return bool(row.options.get("on_conflict") == "rename")


def _upload_position(row: AnyRow) -> UploadPosition:
    # No upload is later than the announcement: a fast clock of the storage would otherwise block
    # later uploads.
    moment = row.received if row.time is None else min(row.time, row.received)
    return UploadPosition(moment, row.type == FOUND, row.id, (row.source, row.bucket, row.key))


def _imported(connection: Connection, destination: str, function: str) -> list[UploadPosition]:
    """Return the newest upload of each source that was imported to a function."""
    row = connection.execute(_IMPORTED, {"destination": destination, "function": function}).first()
    if row is None:
        return []
    source_object = row.source, row.bucket, row.key
    last = UploadPosition(row.moment, row.found, row.delivery_id, source_object)
    newest = {
        source: UploadPosition.of_stored(source, values)
        for source, values in (row.sources or {}).items()
    }
    known = newest.get(last.source)
    if known is None or last.is_newer(known):  # written by an older Relay
        newest[last.source] = last
    return [*newest.values()]
