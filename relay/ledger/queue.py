"""Claiming: one delivery, one owner, until the lease ends."""

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
    exists,
    func,
    select,
    true,
    type_coerce,
    update,
)

from relay.config.units import RateLimit
from relay.ledger.database import LedgerPart
from relay.ledger.destinations import Destination, GateRow, LaneLimits
from relay.ledger.next_due import IS_ANY_DUE, ClaimRequest, next_due
from relay.ledger.rows import AnyRow, to_delivery, to_event
from relay.ledger.schema import PENDING, RUNNING, UNDER_WAY, attempts, deliveries, events, gates
from relay.model import AttemptOutcome, Claim, Event, Kind, State

NO_RATES: Mapping[Destination, RateLimit] = {}

_UNCERTAIN = (
    AttemptOutcome.RETRY,
    AttemptOutcome.LOST,
    AttemptOutcome.HUNG,
    AttemptOutcome.FAILED,
    AttemptOutcome.RELEASED,
)
"""Outcomes after which the destination may have been reached all the same.

`released` too: a worker that stops gives back what it does not wait for any longer.
"""

# Built once, not for each claim: building takes longer than running.
_THIS = deliveries.c.id == bindparam("its_id")
OURS = and_(_THIS, deliveries.c.fence == bindparam("its_fence"), RUNNING)
_CHANGE, _IS_OURS = update(deliveries).where(OURS), select(deliveries.c.id).where(OURS)
_TAKE = update(deliveries).where(_THIS)
_BEGIN = attempts.insert()
_CLOSE = update(attempts).where(
    attempts.c.delivery_id == bindparam("its_id"),
    attempts.c.number == bindparam("its_number"),
    attempts.c.finished.is_(None),
)
_EVENT = select(events).where(events.c.id == bindparam("its_id"))

_LATELY = timedelta(hours=1)
_DEATHS = 1000
"""Lost attempts that are looked at, the newest ones."""

_WELL = (AttemptOutcome.SUCCEEDED, AttemptOutcome.SKIPPED, AttemptOutcome.RETRY)
"""Outcomes of what does not kill its worker. A failure may be that it did so too often."""


SETTLED = (AttemptOutcome.SUCCEEDED, AttemptOutcome.SKIPPED)
"""Outcomes that leave no doubt about what the destination holds."""


class DeliveryQueue(LedgerPart):
    """Who works on what."""

    def claim(  # noqa: PLR0913 - each is a question of its own to the caller
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
        """Takes the delivery that is due longest, of one kind or exactly `only`; None: none is.

        Due are pending ones, and running ones whose lease has ended until `over` (now, if it is not
        said); their attempt is closed as lost. Passed over are those whose kind and destination has
        `limits` running already, has used up its `rates`, or whose gate is closed, and imports of
        an object that the same route is importing.
        """

        def write(connection: Connection) -> Claim | None:
            self._database.advisory_lock(connection, "claim")
            row = next_due(
                connection,
                ClaimRequest(LaneLimits(limits, rates), now, lease_cutoff or now, kind, only),
            )
            if row is None:
                return None
            if row.state == State.RUNNING:
                close_attempt(connection, row.id, row.attempts, AttemptOutcome.LOST, now)
            lane = row.kind, row.destination
            if lane in rates:
                GateRow(self._database, connection, lane).spend(rates[lane], now)
            return _take(connection, row, owner, now + lease, now)

        return self._database.write_grouped(write)

    def is_any_due(self, kind: Kind, now: datetime, lease_cutoff: datetime | None = None) -> bool:
        """Whether anything of a kind is due, or its lease over; not whether its way is free."""
        asked = {"kind": kind, "now": now, "over": lease_cutoff or now}
        with self._database.read() as connection:
            return bool(connection.execute(IS_ANY_DUE, asked).scalar())

    def renew(self, claims: Iterable[Claim], lease: timedelta, now: datetime) -> set[str]:
        """Moves the leases' end to `now + lease`; returns the ids of deliveries still ours."""
        wanted = list(claims)
        if not wanted:
            return set()
        with self._database.write() as connection:
            return {
                claim.delivery.id
                for claim in wanted
                if change(connection, claim, leased_until=now + lease)
            }

    def owners(self) -> set[str]:
        """Who has claimed something now."""
        with self._database.read() as connection:
            query = UNDER_WAY.with_only_columns(deliveries.c.owner).distinct()
            return set(connection.execute(query).scalars())

    def reclaim(self, owner: str, now: datetime) -> int:
        """Makes everything due that an owner had claimed who is known to be dead; how many."""
        with self._database.write() as connection:
            query = select(deliveries.c.id, deliveries.c.attempts)
            rows = connection.execute(
                query.where(RUNNING, deliveries.c.owner == owner).with_for_update()
            ).all()
            for row in rows:
                close_attempt(connection, row.id, row.attempts, AttemptOutcome.LOST, now)
                connection.execute(
                    update(deliveries).where(deliveries.c.id == row.id).values(**idle(now))
                )
            return len(rows)

    def release(self, claim: Claim, now: datetime) -> bool:
        """Gives a delivery back, due now and without counting the try; False: it is not ours."""
        with self._database.write() as connection:
            back = idle(now) | {"tries": deliveries.c.tries - 1}
            if not change(connection, claim, **back):
                return False
            ended = claim.delivery.id, claim.delivery.attempts, AttemptOutcome.RELEASED
            close_attempt(connection, *ended, now)
            return True

    def shift_due_times(self, by: timedelta, now: datetime) -> None:
        """Lets what waits wait that much less, after the clock was turned back by it.

        Where several processes saw the same turn, it is due at once: early rather than an hour
        late.
        """
        waits = ((deliveries, ("due",), PENDING), (gates, ("until", "next", "probe"), true()))
        with self._database.write() as connection:
            for table, names, where in waits:
                for name in names:
                    column = table.c[name]
                    earlier = type_coerce(column, BigInteger) - by // timedelta(microseconds=1)
                    change = update(table).where(where, column > now).values({name: earlier})
                    connection.execute(change)


def idle(due: datetime) -> dict[str, object]:
    """The values of a delivery that waits and belongs to nobody."""
    return {"state": State.PENDING, "due": due, "owner": None, "leased_until": None}


def change(connection: Connection, claim: Claim, **values: object) -> bool:
    """Changes a claimed delivery; False, and nothing changed, when it is not the claim's any more.

    The fence is what a worker whose lease went to another cannot get past.
    """
    counted = {name: one for name, one in values.items() if isinstance(one, ColumnElement)}
    plain = {name: one for name, one in values.items() if name not in counted}
    statement = _CHANGE.values(counted) if counted else _CHANGE
    return connection.execute(statement, {**fence_of(claim), **plain}).rowcount == 1


def is_ours(connection: Connection, claim: Claim) -> bool:
    """Whether the delivery is the claim's still."""
    return connection.execute(_IS_OURS, fence_of(claim)).first() is not None


def fence_of(claim: Claim) -> dict[str, object]:
    """The values that OURS asks for."""
    return {"its_id": claim.delivery.id, "its_fence": claim.fence}


def close_attempt(
    connection: Connection,
    delivery_id: str,
    number: int,
    outcome: AttemptOutcome,
    now: datetime,
    **more: object,
) -> None:
    """Ends an attempt; from then on it is history."""
    this = {"its_id": delivery_id, "its_number": number}
    connection.execute(_CLOSE, {**this, "finished": now, "outcome": outcome, **more})


def _take(connection: Connection, row: AnyRow, owner: str, until: datetime, now: datetime) -> Claim:
    number, fence = row.attempts + 1, row.fence + 1
    taken = {"state": State.RUNNING, "owner": owner, "leased_until": until, "tries": row.tries + 1}
    taken |= {"attempts": number, "fence": fence}
    connection.execute(_TAKE, {"its_id": row.id, **taken})
    copied = {
        "kind": row.kind,
        "destination": row.destination,
        "trigger": row.trigger,
        "by": row.by,
    }
    connection.execute(_BEGIN, {"delivery_id": row.id, "number": number, "started": now, **copied})
    delivery = replace(to_delivery(row), state=State.RUNNING, attempts=number, fence=fence)
    claim = Claim(delivery, _event(connection, row), owner, fence, row.tries + 1)
    if not row.attempts:
        return claim
    crashes, hangs = _bad_ends(connection, row.id, number)
    unlucky = bool(crashes) and _unlucky(connection, row, now)
    earlier = _earlier(connection, row.id)
    return replace(claim, earlier=earlier, crashes=crashes, hangs=hangs, unlucky=unlucky)


def _event(connection: Connection, row: AnyRow) -> Event | None:
    if row.kind == Kind.MESSAGE or row.event_id is None:
        return None
    return to_event(connection.execute(_EVENT, {"its_id": row.event_id}).one())


def _earlier(connection: Connection, delivery_id: str) -> datetime | None:
    """When the first attempt began that may have reached the destination; see Claim.earlier."""
    its = attempts.c.delivery_id == delivery_id
    settled = (
        select(func.coalesce(func.max(attempts.c.number), 0))
        .where(its, attempts.c.outcome.in_(SETTLED))
        .scalar_subquery()
    )
    query = select(func.min(attempts.c.started)).where(
        its, attempts.c.number > settled, attempts.c.outcome.in_(_UNCERTAIN)
    )
    return connection.execute(query).scalar()


def _bad_ends(connection: Connection, delivery_id: str, number: int) -> tuple[int, int]:
    """How many attempts right before this number were lost, and how many hung."""
    before = attempts.c.delivery_id == delivery_id, attempts.c.number < number
    ended = (
        select(func.coalesce(func.max(attempts.c.number), 0))
        .where(*before, attempts.c.outcome.not_in((AttemptOutcome.LOST, AttemptOutcome.HUNG)))
        .scalar_subquery()
    )
    query = select(attempts.c.outcome).where(*before, attempts.c.number > ended)
    ends = connection.execute(query).scalars().all()
    return ends.count(AttemptOutcome.LOST), ends.count(AttemptOutcome.HUNG)


def _unlucky(connection: Connection, row: AnyRow, now: datetime) -> bool:
    """See Claim.unlucky. What one worker had in hand when it died was closed at one moment."""
    ended = attempts.alias("ended")
    ended_since = exists().where(
        ended.c.delivery_id == attempts.c.delivery_id,
        ended.c.number > attempts.c.number,
        ended.c.outcome.in_(_WELL),
    )
    lost = (
        select(attempts.c.finished, attempts.c.delivery_id, ended_since.label("ended_since"))
        .where(
            attempts.c.kind == row.kind,
            attempts.c.destination == row.destination,
            attempts.c.outcome == AttemptOutcome.LOST,
            attempts.c.finished > now - _LATELY,
        )
        .order_by(attempts.c.finished.desc())
        .limit(_DEATHS)
    )
    deaths: dict[datetime, list[bool]] = {}
    for one in connection.execute(lost):
        innocent = one.delivery_id != row.id and one.ended_since
        deaths.setdefault(one.finished, []).append(innocent)
    return any(all(innocent) for innocent in deaths.values())
