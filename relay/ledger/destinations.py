"""Gates: what holds all deliveries to one destination back. One row for each, for all processes.

A destination is closed while somebody paused it, while it asked to wait (Retry-After), while its
rate is used up, and while it is down: then one delivery at a time tries whether it is back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    case,
    func,
    select,
    type_coerce,
    update,
)

from relay.config.units import RateLimit
from relay.ledger.database import Database, Insert, LedgerPart
from relay.ledger.rows import AnyRow
from relay.ledger.schema import gates
from relay.model import Kind

Destination = tuple[Kind, str]
"""A kind and a destination: what limits and gates apply to."""

DOWN_AFTER = 10
"""Failures of a destination, with no answer in between, until it counts as down."""

PROBE_EVERY = timedelta(seconds=30)
"""How often a destination that is down is tried."""


# Asked for at each success: built once.
_ROW = select(gates).where(*(gates.c[name] == bindparam(name) for name in ("kind", "destination")))


@dataclass(frozen=True, slots=True)
class Gate:
    """Why deliveries to a destination wait. None: not for that reason. `down` and `paused`: since
    when; `until`: what it asked for; `failures`: in a row."""

    kind: Kind
    destination: str
    until: datetime | None
    paused: datetime | None
    down: datetime | None
    failures: int


@dataclass(frozen=True, slots=True)
class LaneLimits:
    """What is configured: how many at once in a lane, and how many in a time."""

    concurrency: Mapping[Destination, int]
    rates: Mapping[Destination, RateLimit]


class Destinations(LedgerPart):
    """What holds destinations back, and how people do it by hand."""

    def all(self) -> list[Gate]:
        """Every destination that something was ever known of."""
        with self._database.read() as connection:
            rows = connection.execute(select(gates).order_by(gates.c.kind, gates.c.destination))
            return [
                Gate(row.kind, row.destination, row.until, row.paused, row.down, row.failures)
                for row in rows
            ]

    def pause(self, kind: Kind, destination: str, now: datetime) -> None:
        """Nothing is claimed for the destination until it is resumed; what runs, ends."""
        with self._database.write() as connection:
            # Else a claim that has looked already, and found it open, would take one afterwards.
            self._database.advisory_lock(connection, "claim")
            GateRow(self._database, connection, (kind, destination)).pause(now)

    def resume(self, kind: Kind, destination: str) -> None:
        """Ends a pause, and forgets that the destination asked to wait or was down."""
        with self._database.write() as connection:
            GateRow(self._database, connection, (kind, destination)).open()


def closed(
    connection: Connection, leased: Sequence[AnyRow], limits: LaneLimits, now: datetime
) -> set[Destination]:
    """The lanes from which nothing may be claimed now; `leased` are the deliveries under way."""
    running = Counter((row.kind, row.destination) for row in leased)
    full = {lane for lane, limit in limits.concurrency.items() if running[lane] >= limit}
    for row in connection.execute(select(gates)):
        here = row.kind, row.destination
        rate = limits.rates.get(here)
        if (
            row.paused
            or (row.until and row.until > now)
            or (row.down and (row.probe > now or running[here]))
            or (rate and row.next and row.next - _burst(rate) > now)
        ):
            full.add(here)
    return full


def _burst(rate: RateLimit) -> timedelta:
    """How far ahead of an even pace the deliveries may be: a whole allowance at once."""
    return rate.period - rate.period / rate.count


@dataclass(frozen=True, slots=True)
class GateRow:
    """The gate of one lane, in a transaction."""

    database: Database
    connection: Connection
    lane: Destination

    def spend(self, rate: RateLimit, now: datetime) -> None:
        """Counts one delivery against the rate (GCRA: `next` is when the one after it would be due
        if all came evenly)."""
        known = self.connection.execute(select(gates.c.next).where(*self._here)).scalar()
        step = rate.period / rate.count
        self._put({"next": max(known or now, now) + step})

    def give_back(self, rate: RateLimit) -> None:
        """Takes back what `spend` counted: nothing went there."""
        step = rate.period / rate.count // timedelta(microseconds=1)
        self._set(next=type_coerce(gates.c.next, BigInteger) - step)

    def hold(self, until: datetime) -> None:
        """Closes it until then, or longer if it was."""
        asked = self._new({"until": until}).excluded.until
        self._put({"until": until}, case((gates.c.until > asked, gates.c.until), else_=asked))

    def failed(self, now: datetime) -> bool:
        """Counts a failure of the destination; whether it counts as down from now on."""
        self._put({"failures": 1}, gates.c.failures + 1)
        row = self.connection.execute(select(gates).where(*self._here)).one()
        if row.failures < DOWN_AFTER:
            return False
        self._set(probe=now + PROBE_EVERY, down=row.down or now)
        return row.down is None

    def answered(self) -> bool:
        """The destination answers; whether it was down until now."""
        kind, destination = self.lane
        here = {"kind": kind, "destination": destination}
        row = self.connection.execute(_ROW, here).one_or_none()
        if row is None or not row.failures:
            return False
        self._set(failures=0, down=None, probe=None)
        return row.down is not None

    def pause(self, now: datetime) -> None:
        """Closes it by hand; since when it is closed, stays."""
        asked = self._new({"paused": now}).excluded.paused
        self._put({"paused": now}, func.coalesce(gates.c.paused, asked))

    def open(self) -> None:
        """Opens it, whatever closed it."""
        self._set(paused=None, until=None, down=None, probe=None, failures=0)

    @property
    def _here(self) -> tuple[ColumnElement[bool], ...]:
        kind, destination = self.lane
        return gates.c.kind == kind, gates.c.destination == destination

    def _new(self, values: Mapping[str, object]) -> Insert:
        kind, destination = self.lane
        row = {"kind": kind, "destination": destination, "failures": 0, **values}
        return self.database.insert(gates).values(row)

    def _put(self, values: Mapping[str, object], instead: object = None) -> None:
        """Makes the row with one value, or changes that value of it (to `instead`)."""
        insert = self._new(values)
        (name,) = values
        changed = {name: insert.excluded[name] if instead is None else instead}
        key = [gates.c.kind, gates.c.destination]
        self.connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changed))

    def _set(self, **values: object) -> None:
        self.connection.execute(update(gates).where(*self._here).values(**values))
