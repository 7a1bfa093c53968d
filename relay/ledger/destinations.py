"""Gates of destinations: a row per destination holds deliveries back in all processes.

A destination is closed while it is paused, while it asked to wait (Retry-After), while the rate is
used up, and while it is down; then single deliveries probe it.
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
from relay.ledger.budget import credit_pause
from relay.ledger.database import Database, Insert, LedgerPart
from relay.ledger.rows import AnyRow
from relay.ledger.schema import gates
from relay.model import Kind

Destination = tuple[Kind, str]
"""The kind of delivery and the name of the target or channel."""

DOWN_AFTER = 10
"""Failures in a row after which a destination counts as down."""

PROBE_EVERY = timedelta(seconds=30)
"""Interval between attempts at a destination that is down."""

# Built once, because every success runs it.
_SELECT = select(gates).where(
    *(gates.c[name] == bindparam(name) for name in ("kind", "destination"))
)


@dataclass(frozen=True, slots=True)
class Gate:
    """The state of a destination.

    `until`: the end of the requested wait; `paused` and `down`: since when; `failures`: in a row.
    """

    kind: Kind
    destination: str
    until: datetime | None
    paused: datetime | None
    down: datetime | None
    failures: int


class Destinations(LedgerPart):
    """Reads, pauses and resumes destinations."""

    def all(self) -> list[Gate]:
        """Return all destinations that ever failed, waited or were paused."""
        with self._database.read() as connection:
            rows = connection.execute(select(gates).order_by(gates.c.kind, gates.c.destination))
            return [
                Gate(row.kind, row.destination, row.until, row.paused, row.down, row.failures)
                for row in rows
            ]

    def pause(self, kind: Kind, destination: str, now: datetime) -> None:
        """Stop claims for the destination until it is resumed; running deliveries continue."""
        with self._database.write() as connection:
            # A claim that found the gate open a moment ago must finish first.
            self._database.advisory_lock(connection, "claim")
            GateRow(self._database, connection, (kind, destination)).pause(now)

    def resume(self, kind: Kind, destination: str, now: datetime) -> None:
        """End a pause, a requested wait and the down state. A pause took none of any budget."""
        with self._database.write() as connection:
            gate = GateRow(self._database, connection, (kind, destination))
            if paused := gate.paused_since():
                credit_pause(connection, kind, destination, paused, now)
            gate.open()

    def is_down(self, kind: Kind, destination: str) -> bool:
        """Return whether the destination is down: attempts are probes."""
        with self._database.read() as connection:
            row = connection.execute(_SELECT, {"kind": kind, "destination": destination}).first()
            return row is not None and row.down is not None


def closed_destinations(
    connection: Connection,
    running: Sequence[AnyRow],
    limits: Mapping[Destination, int],
    rates: Mapping[Destination, RateLimit],
    now: datetime,
) -> set[Destination]:
    """Return the destinations from which nothing may be claimed now.

    `running` are the leased deliveries, `limits` how many may run at the same time.
    """
    counts = Counter((row.kind, row.destination) for row in running)
    closed = {destination for destination, limit in limits.items() if counts[destination] >= limit}
    for gate in connection.execute(select(gates)):
        destination = gate.kind, gate.destination
        rate = rates.get(destination)
        if (
            gate.paused
            or (gate.until and gate.until > now)
            or (gate.down and (gate.probe > now or counts[destination]))
            or (rate and gate.next and gate.next - burst_time(rate) > now)
        ):
            closed.add(destination)
    return closed


def burst_time(rate: RateLimit) -> timedelta:
    """Return how far deliveries may be ahead of an even pace: a full allowance at once."""
    return rate.period - rate.period / rate.count


@dataclass(frozen=True, slots=True)
class GateRow:
    """The gate of a destination, in a transaction."""

    database: Database
    connection: Connection
    destination: Destination

    def spend(self, rate: RateLimit, now: datetime) -> None:
        """Count a delivery against the rate.

        GCRA: `next` is when the following delivery would be due if all came evenly spaced.
        """
        current = self.connection.execute(select(gates.c.next).where(*self._this)).scalar()
        step = rate.period / rate.count
        self._upsert({"next": max(current or now, now) + step})

    def refund(self, rate: RateLimit) -> None:
        """Undo `spend`, because the delivery did not reach the destination."""
        step = rate.period / rate.count // timedelta(microseconds=1)
        self._update(next=type_coerce(gates.c.next, BigInteger) - step)

    def hold(self, until: datetime) -> None:
        """Close the gate until then, or longer if it was closed for longer."""
        new = self._insert({"until": until}).excluded.until
        self._upsert({"until": until}, case((gates.c.until > new, gates.c.until), else_=new))

    def record_failure(self, now: datetime) -> bool:
        """Count a failure. Returns whether the destination counts as down from now on."""
        self._upsert({"failures": 1}, gates.c.failures + 1)
        row = self.connection.execute(select(gates).where(*self._this)).one()
        if row.failures < DOWN_AFTER:
            return False
        self._update(probe=now + PROBE_EVERY, down=row.down or now)
        return row.down is None

    def record_response(self) -> bool:
        """Reset the failures. Returns whether the destination was down until now."""
        row = self.connection.execute(_SELECT, self._key).one_or_none()
        if row is None or not row.failures:
            return False
        self._update(failures=0, down=None, probe=None)
        return row.down is not None

    def paused_since(self) -> datetime | None:
        """Return the start of the pause, with a lock on the row; None: not paused."""
        row = self.connection.execute(_SELECT.with_for_update(), self._key).first()
        return None if row is None else row.paused

    def pause(self, now: datetime) -> None:
        """Pause the destination; an earlier pause keeps the start time."""
        new = self._insert({"paused": now}).excluded.paused
        self._upsert({"paused": now}, func.coalesce(gates.c.paused, new))

    def open(self) -> None:
        """Open the gate, regardless of why it was closed."""
        self._update(paused=None, until=None, down=None, probe=None, failures=0)

    @property
    def _key(self) -> dict[str, object]:
        return dict(zip(("kind", "destination"), self.destination, strict=True))

    @property
    def _this(self) -> list[ColumnElement[bool]]:
        return [gates.c[name] == value for name, value in self._key.items()]

    def _insert(self, values: Mapping[str, object]) -> Insert:
        return self.database.insert(gates).values({**self._key, "failures": 0, **values})

    def _upsert(self, values: Mapping[str, object], update_to: object = None) -> None:
        """Insert the row with a value, or set this column of the row (to `update_to`)."""
        insert = self._insert(values)
        (name,) = values
        changed = {name: insert.excluded[name] if update_to is None else update_to}
        key = [gates.c.kind, gates.c.destination]
        self.connection.execute(insert.on_conflict_do_update(index_elements=key, set_=changed))

    def _update(self, **values: object) -> None:
        self.connection.execute(update(gates).where(*self._this).values(**values))
