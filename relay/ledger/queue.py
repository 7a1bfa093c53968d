"""The delivery queue: a worker claims a delivery until the lease expires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    true,
    type_coerce,
    update,
)

from relay.config.units import RateLimit
from relay.ledger.budget import overdue
from relay.ledger.database import LedgerPart
from relay.ledger.destinations import Destination, GateRow
from relay.ledger.intent_rows import load_intents
from relay.ledger.message_order import prepare_message
from relay.ledger.next_due import IS_ANY_DUE, next_due
from relay.ledger.rows import AnyRow, to_delivery, to_event
from relay.ledger.schema import PENDING, RUNNING, UNDER_WAY, attempts, deliveries, events, gates
from relay.model import AttemptOutcome, Claim, Kind, State

NO_RATES: Mapping[Destination, RateLimit] = {}

_HARMLESS_OUTCOMES = (AttemptOutcome.SUCCEEDED, AttemptOutcome.SKIPPED, AttemptOutcome.RETRY)
"""Outcomes of deliveries that do not crash workers. `failed` may be due to too many crashes."""

_CRASH_WINDOW = timedelta(hours=1)
_MAX_CRASHES = 1000
"""The newest lost attempts that are examined."""

# Built once: building a statement takes longer than running it.
_THIS = deliveries.c.id == bindparam("this_id")
CLAIMED = and_(_THIS, deliveries.c.fence == bindparam("this_fence"), RUNNING)
"""The condition that a claim still holds the delivery; see claim_params()."""
_UPDATE_CLAIMED = update(deliveries).where(CLAIMED)
_SELECT_CLAIMED = select(deliveries.c.id).where(CLAIMED)
_START = update(deliveries).where(_THIS)
_INSERT_ATTEMPT = attempts.insert()
_CLOSE_ATTEMPT = update(attempts).where(
    attempts.c.delivery_id == bindparam("this_id"),
    attempts.c.number == bindparam("this_number"),
    attempts.c.finished.is_(None),
)
_OTHER = events.alias()
_SELECT_EVENT = select(
    events,
    exists()
    .where(
        *(_OTHER.c[name] == events.c[name] for name in ("source", "bucket", "key")),
        _OTHER.c.id != events.c.id,
    )
    .label("has_others"),
).where(events.c.id == bindparam("this_id"))


class DeliveryQueue(LedgerPart):
    """Claims deliveries and returns them."""

    def claim(
        self,
        owner: str,
        lease: timedelta,
        limits: Mapping[Destination, int],
        now: datetime,
        *,
        kind: Kind | None = None,
        only: str | None = None,
        rates: Mapping[Destination, RateLimit] = NO_RATES,
        lease_cutoff: datetime | None = None,
    ) -> Claim | None:
        """Claim the oldest due delivery of `kind` (or the delivery `only`).

        Pending deliveries are due, and running ones whose lease expired by `lease_cutoff`
        (default: `now`); their attempt is closed as lost. Skips destinations that have `limits`
        deliveries running, have used up their rate in `rates`, or whose gate is closed, and imports
        of an object that the same route is importing. Returns None if nothing is claimable.
        """

        def write(connection: Connection) -> Claim | None:
            self._database.advisory_lock(connection, "claim")
            row = None
            while row is None:
                row = next_due(
                    connection,
                    limits,
                    rates,
                    now=now,
                    lease_cutoff=lease_cutoff or now,
                    kind=kind,
                    only=only,
                )
                if row is None:
                    return None
                if row.state == State.RUNNING:
                    close_attempt(connection, row.id, row.attempts, AttemptOutcome.LOST, now)
                if row.kind == Kind.MESSAGE:
                    row = prepare_message(connection, row, now)
            destination = row.kind, row.destination
            if destination in rates:
                gate = GateRow(self._database, connection, destination)
                gate.spend(rates[destination], now)
            return _start_attempt(connection, row, owner, now + lease, now)

        return self._database.write_grouped(write)

    def claim_overdue(
        self, owner: str, lease: timedelta, began_before: datetime, now: datetime, kind: Kind
    ) -> Claim | None:
        """Claim a delivery whose time is over, only to end it; see overdue()."""

        def write(connection: Connection) -> Claim | None:
            self._database.advisory_lock(connection, "claim")
            row = overdue(connection, kind, began_before, now)
            if row is None:
                return None
            claim = _start_attempt(connection, row, owner, now + lease, now)
            return replace(claim, is_overdue=True)

        return self._database.write_grouped(write)

    def is_any_due(self, kind: Kind, now: datetime, lease_cutoff: datetime | None = None) -> bool:
        """Return whether a delivery of a kind is due, regardless of limits and gates."""
        params = {"kind": kind, "now": now, "lease_cutoff": lease_cutoff or now}
        with self._database.read() as connection:
            return bool(connection.execute(IS_ANY_DUE, params).scalar())

    def renew(self, claims: Iterable[Claim], lease: timedelta, now: datetime) -> set[str]:
        """Extend the leases to `now + lease`. Returns the ids of deliveries that are still held."""
        renewed = list(claims)
        if not renewed:
            return set()
        with self._database.write() as connection:
            return {
                claim.delivery.id
                for claim in renewed
                if update_claimed(connection, claim, leased_until=now + lease)
            }

    def owners(self) -> set[str]:
        """Return the owners of all current claims."""
        with self._database.read() as connection:
            query = UNDER_WAY.with_only_columns(deliveries.c.owner).distinct()
            return set(connection.execute(query).scalars())

    def reclaim(self, owner: str, now: datetime) -> int:
        """Make all deliveries of a dead owner due now. Returns their number."""
        with self._database.write() as connection:
            query = select(deliveries.c.id, deliveries.c.attempts)
            rows = connection.execute(
                query.where(RUNNING, deliveries.c.owner == owner).with_for_update()
            ).all()
            for row in rows:
                close_attempt(connection, row.id, row.attempts, AttemptOutcome.LOST, now)
                this = deliveries.c.id == row.id
                connection.execute(update(deliveries).where(this).values(**pending_values(now)))
            return len(rows)

    def release(self, claim: Claim, now: datetime, *, hung: bool = False) -> bool:
        """Return a delivery to the queue, due now; only a `hung` attempt counts towards the limit.

        Returns False if the claim no longer holds the delivery.
        """
        tries = {} if hung else {"tries": deliveries.c.tries - 1}
        outcome = AttemptOutcome.HUNG if hung else AttemptOutcome.RELEASED
        with self._database.write() as connection:
            if not update_claimed(connection, claim, **pending_values(now), **tries):
                return False
            close_attempt(connection, claim.delivery.id, claim.delivery.attempts, outcome, now)
            return True

    def undo(self, claim: Claim, rate: RateLimit | None = None) -> bool:
        """Return a delivery whose attempt has not begun, as if it had never been claimed.

        It is due as before. The share of the destination's `rate` is refunded. Returns False if the
        claim no longer holds the delivery.
        """
        with self._database.write() as connection:
            pending = {"state": State.PENDING, "owner": None, "leased_until": None}
            if not undo_claim(connection, claim, **pending):
                return False
            if rate:
                destination = claim.delivery.kind, claim.delivery.destination
                GateRow(self._database, connection, destination).refund(rate)
            self._database.notify_workers(connection)
            return True

    def shift_due_times(self, by: timedelta, now: datetime) -> None:
        """Move pending due times back by `by`, after the clock was set back by it.

        If several processes detect the same clock change, deliveries are due at once: early is
        better than an hour late.
        """
        waits = ((deliveries, ("due",), PENDING), (gates, ("until", "next", "probe"), true()))
        with self._database.write() as connection:
            for table, names, condition in waits:
                for name in names:
                    column = table.c[name]
                    shifted = type_coerce(column, BigInteger) - by // timedelta(microseconds=1)
                    statement = update(table).where(condition, column > now)
                    connection.execute(statement.values({name: shifted}))


def pending_values(due: datetime) -> dict[str, object]:
    """Return the values of a pending delivery without an owner."""
    return {"state": State.PENDING, "due": due, "owner": None, "leased_until": None}


def update_claimed(connection: Connection, claim: Claim, **values: object) -> bool:
    """Update a claimed delivery. Returns False if the claim no longer holds it.

    The fence stops a worker whose lease expired and whose delivery was claimed again.
    """
    expressions = {
        name: value for name, value in values.items() if isinstance(value, ColumnElement)
    }
    plain = {name: value for name, value in values.items() if name not in expressions}
    statement = _UPDATE_CLAIMED.values(expressions) if expressions else _UPDATE_CLAIMED
    return connection.execute(statement, {**claim_params(claim), **plain}).rowcount == 1


def undo_claim(connection: Connection, claim: Claim, **values: object) -> bool:
    """Update a claimed delivery and delete the attempt, as if it had never been claimed.

    Returns False if the claim no longer holds the delivery.
    """
    uncounted = {"attempts": deliveries.c.attempts - 1, "tries": deliveries.c.tries - 1}
    if not update_claimed(connection, claim, **uncounted, **values):
        return False
    delivery = claim.delivery
    attempt = attempts.c.delivery_id == delivery.id, attempts.c.number == delivery.attempts
    connection.execute(delete(attempts).where(*attempt))
    return True


def holds_claim(connection: Connection, claim: Claim) -> bool:
    """Return whether the claim still holds the delivery."""
    return connection.execute(_SELECT_CLAIMED, claim_params(claim)).first() is not None


def claim_params(claim: Claim) -> dict[str, object]:
    """Return the parameters of CLAIMED."""
    return {"this_id": claim.delivery.id, "this_fence": claim.fence}


def close_attempt(
    connection: Connection,
    delivery_id: str,
    number: int,
    outcome: AttemptOutcome,
    now: datetime,
    **values: object,
) -> None:
    """Finish an attempt; a finished attempt never changes."""
    params = {"this_id": delivery_id, "this_number": number}
    connection.execute(_CLOSE_ATTEMPT, {**params, "finished": now, "outcome": outcome, **values})


def _start_attempt(
    connection: Connection, row: AnyRow, owner: str, until: datetime, now: datetime
) -> Claim:
    number, fence = row.attempts + 1, row.fence + 1
    values = {
        "state": State.RUNNING,
        "owner": owner,
        "leased_until": until,
        "tries": row.tries + 1,
        "attempts": number,
        "fence": fence,
    }
    connection.execute(_START, {"this_id": row.id, **values})
    copied = {name: row._mapping[name] for name in ("kind", "destination", "trigger", "by")}
    attempt = {"delivery_id": row.id, "number": number, "started": now, **copied}
    attempt["records_intents"] = True
    connection.execute(_INSERT_ATTEMPT, attempt)
    delivery = replace(to_delivery(row), state=State.RUNNING, attempts=number, fence=fence)
    event, is_only_event = None, False
    if row.kind == Kind.IMPORT and row.event_id is not None:
        event_row = connection.execute(_SELECT_EVENT, {"this_id": row.event_id}).one()
        event, is_only_event = to_event(event_row), not event_row.has_others
    claim = Claim(delivery, event, owner, fence, row.tries + 1, is_only_event=is_only_event)
    if not row.attempts:
        return claim
    crashes, hangs = _count_crashes_and_hangs(connection, row.id, number)
    return replace(
        claim,
        intents=load_intents(connection, row.id, row.run) if row.kind == Kind.IMPORT else (),
        crashes=crashes,
        hangs=hangs,
        crashed_elsewhere=bool(crashes) and _has_unrelated_crash(connection, row, now),
    )


def _count_crashes_and_hangs(
    connection: Connection, delivery_id: str, number: int
) -> tuple[int, int]:
    """Count the lost and the hung attempts in a row immediately before attempt `number`."""
    before = attempts.c.delivery_id == delivery_id, attempts.c.number < number
    last_other = (
        select(func.coalesce(func.max(attempts.c.number), 0))
        .where(*before, attempts.c.outcome.not_in((AttemptOutcome.LOST, AttemptOutcome.HUNG)))
        .scalar_subquery()
    )
    query = select(attempts.c.outcome).where(*before, attempts.c.number > last_other)
    outcomes = connection.execute(query).scalars().all()
    return outcomes.count(AttemptOutcome.LOST), outcomes.count(AttemptOutcome.HUNG)


def _has_unrelated_crash(connection: Connection, row: AnyRow, now: datetime) -> bool:
    """Return whether this delivery cannot have caused a recent worker crash.

    Attempts that were lost in the same crash share the `finished` time. A crash is unrelated if
    this delivery was not among them and the others ended without a crash afterwards.
    """
    later = attempts.alias("ended")
    ended_well = exists().where(
        later.c.delivery_id == attempts.c.delivery_id,
        later.c.number > attempts.c.number,
        later.c.outcome.in_(_HARMLESS_OUTCOMES),
    )
    lost_attempts = (
        select(attempts.c.finished, attempts.c.delivery_id, ended_well.label("ended_well"))
        .where(
            attempts.c.kind == row.kind,
            attempts.c.destination == row.destination,
            attempts.c.outcome == AttemptOutcome.LOST,
            attempts.c.finished > now - _CRASH_WINDOW,
        )
        .order_by(attempts.c.finished.desc())
        .limit(_MAX_CRASHES)
    )
    crashes: dict[datetime, list[bool]] = {}
    for attempt in connection.execute(lost_attempts):
        is_harmless = attempt.delivery_id != row.id and attempt.ended_well
        crashes.setdefault(attempt.finished, []).append(is_harmless)
    return any(all(harmless) for harmless in crashes.values())
