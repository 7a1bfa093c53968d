"""Why pending deliveries wait, and until when: from gates, deliveries and the configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
)

from relay.config.load import Settings, Table
from relay.config.units import RateLimit
from relay.ledger.database import LedgerPart
from relay.ledger.destinations import Destination, burst_time
from relay.ledger.rows import AnyRow
from relay.ledger.schema import UNDER_WAY, WAITING, deliveries, gates
from relay.ledger.types import UtcTimestamp
from relay.ledger.values import ExplainedDelivery, Waiting, WaitReason
from relay.model import Delivery, Kind, State

K = TypeVar("K")

TABLES = {Kind.IMPORT: "targets", Kind.MESSAGE: "channels"}
"""The table of relay.toml that has the destinations of a kind."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The names, limits of concurrency, and rates of the configuration."""

    sources: frozenset[str]
    destinations: frozenset[Destination]
    limits: Mapping[Destination, int]
    rates: Mapping[Destination, RateLimit]

    @property
    def paths(self) -> set[str]:
        """The tables of relay.toml: "sources.exports", "targets.prod"."""
        sources = {f"sources.{name}" for name in self.sources}
        return sources | {f"{TABLES[kind]}.{name}" for kind, name in self.destinations}

    @classmethod
    def of(cls, settings: Settings) -> Configured:
        named: dict[Destination, Table] = {
            (Kind.IMPORT, name): table for name, table in settings.targets.items()
        }
        named |= {(Kind.MESSAGE, name): table for name, table in settings.channels.items()}
        rates = {key: getattr(table, "rate", None) for key, table in named.items()}
        return cls(
            frozenset(settings.sources),
            frozenset(named),
            {(Kind.IMPORT, name): table.concurrency for name, table in settings.targets.items()},
            {key: rate for key, rate in rates.items() if rate},
        )


@dataclass(frozen=True, slots=True)
class WaitingGroup:
    """Pending deliveries to a destination that wait for the same reason; None: they are claimable.

    `created` and `due` are the earliest of all.
    """

    kind: Kind
    destination: str
    source: str
    reason: WaitReason | None
    number: int
    created: datetime
    due: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """All pending deliveries by reason, and the ends of the leases of the running ones."""

    groups: Sequence[WaitingGroup]
    leases: Sequence[tuple[Kind, datetime]]
    now: datetime

    def oldest_due(self) -> dict[Kind, float]:
        """Return by kind the seconds since the oldest claimable delivery became due.

        A running delivery is due again once the lease expires. A kind without one is absent.
        """
        due = [(group.kind, group.due) for group in self.groups if group.reason is None]
        due += [(kind, end) for kind, end in self.leases if end <= self.now]
        return _longest((kind, self.now - moment) for kind, moment in due)

    def waiting(self) -> dict[tuple[Kind, WaitReason], int]:
        """Return the number of waiting deliveries by kind and reason."""
        numbers = Counter[tuple[Kind, WaitReason]]()
        for group in self.groups:
            if group.reason:
                numbers[group.kind, group.reason] += group.number
        return dict(numbers)

    def oldest_waiting(self) -> dict[tuple[Kind, WaitReason], float]:
        """Return by kind and reason the seconds since the oldest waiting delivery was created."""
        return _longest(
            ((group.kind, group.reason), self.now - group.created)
            for group in self.groups
            if group.reason
        )

    def not_configured(self) -> list[WaitingGroup]:
        """Return the groups whose source or destination is not in the configuration."""
        return [group for group in self.groups if group.reason is WaitReason.NOT_CONFIGURED]


_d = deliveries.c
_other = deliveries.alias("other")
_SAME_DESTINATION = _other.c.destination == _d.destination
_SAME_OBJECT = [_other.c[name] == _d[name] for name in ("source", "route", "bucket", "key")]
_IS_BUSY = exists().where(
    _other.c.state == literal_column("'running'"),
    _other.c.kind == _d.kind,
    _other.c.id != _d.id,
    or_(
        and_(_SAME_DESTINATION, _other.c.function == _d.function),
        and_(_SAME_DESTINATION, _other.c.subject == _d.subject),
        and_(_d.kind == Kind.IMPORT, *_SAME_OBJECT),
    ),
)
_IS_LATER: ColumnElement[bool] = _d.due > bindparam("now", type_=UtcTimestamp())
_PENDING: Select[Any] = WAITING.with_only_columns(
    *(_d[name] for name in ("id", "kind", "destination", "source", "wait_reason")),
    *(_d[name] for name in ("created", "due")),
    _IS_LATER.label("is_later"),
    # Only for those that are due: nothing else holds the others back yet.
    case((_IS_LATER, false()), else_=_IS_BUSY).label("is_busy"),
)
_SINGLE = _PENDING.where(_d.id.in_(bindparam("ids", expanding=True)))
_all = _PENDING.subquery()
_KEYS = [_all.c[name] for name in ("kind", "destination", "source", "wait_reason", "is_busy")]
_GROUPED: Select[Any] = select(
    *_KEYS,
    func.count().label("number"),
    func.min(_all.c.created).label("created"),
    func.min(_all.c.due).label("due"),
).group_by(*_KEYS, _all.c.is_later)
_LEASES = UNDER_WAY.with_only_columns(_d.kind, _d.destination, _d.leased_until)


class Waits(LedgerPart):
    """Explains why deliveries wait."""

    def explain(
        self, found: Iterable[Delivery], configured: Configured, now: datetime
    ) -> tuple[ExplainedDelivery, ...]:
        """Return the deliveries with `waiting`; a fixed number of queries for all of them."""
        items = tuple(found)
        ids = [delivery.id for delivery in items if delivery.state == State.PENDING]
        waiting = self._explain(ids, configured, now) if ids else {}
        return tuple(
            ExplainedDelivery(**_values(delivery), waiting=waiting.get(delivery.id))
            for delivery in items
        )

    def _explain(
        self, ids: Sequence[str], configured: Configured, now: datetime
    ) -> dict[str, Waiting | None]:
        with self._database.read() as connection:
            rows = connection.execute(_SINGLE, {"ids": ids, "now": now}).all()
            rules = _Rules.read(connection, configured, now)
        return {row.id: rules.explain(row) for row in rows}

    def backlog(self, configured: Configured, now: datetime) -> Backlog:
        """Return all pending deliveries by destination and reason, and the running leases."""
        with self._database.read() as connection:
            rows = connection.execute(_GROUPED, {"now": now}).all()
            rules = _Rules.read(connection, configured, now)
            leases = connection.execute(_LEASES).all()
        groups = []
        for row in rows:
            waiting = rules.explain(row)
            reason = waiting.reason if waiting else None
            names = row.kind, row.destination, row.source
            groups.append(WaitingGroup(*names, reason, row.number, row.created, row.due))
        return Backlog(groups, [(row.kind, row.leased_until) for row in leases], now)


@dataclass(frozen=True, slots=True)
class _Rules:
    """The state of all destinations at a moment."""

    configured: Configured
    gates: Mapping[Destination, AnyRow]
    running: Mapping[Destination, int]
    now: datetime

    @classmethod
    def read(cls, connection: Connection, configured: Configured, now: datetime) -> _Rules:
        by_destination = {
            (row.kind, row.destination): row for row in connection.execute(select(gates))
        }
        leases = connection.execute(_LEASES)
        running = Counter((row.kind, row.destination) for row in leases if row.leased_until > now)
        return cls(configured, by_destination, running, now)

    def explain(self, row: AnyRow) -> Waiting | None:
        """Return why a pending delivery, or a group of them, is not claimed; None: it can be.

        If several reasons hold, the one that lasts longest counts.
        """
        destination = row.kind, row.destination
        gate = self.gates.get(destination)
        if not self._is_configured(row):
            return Waiting(WaitReason.NOT_CONFIGURED)
        if gate is not None and gate.paused:
            return Waiting(WaitReason.PAUSED)
        timed = list(self._timed(row, gate, destination))
        if gate is not None and gate.down:
            ends = [gate.probe, *(waiting.until for waiting in timed)]
            return Waiting(WaitReason.DOWN, max(end for end in ends if end))
        if timed:
            return max(timed, key=lambda waiting: waiting.until or self.now)
        if row.is_busy:
            return Waiting(WaitReason.SAME_FUNCTION)
        limit = self.configured.limits.get(destination)
        if limit is not None and self.running.get(destination, 0) >= limit:
            return Waiting(WaitReason.CONCURRENCY)
        return None

    def _is_configured(self, row: AnyRow) -> bool:
        has_source = row.kind == Kind.MESSAGE or row.source in self.configured.sources
        return has_source and (row.kind, row.destination) in self.configured.destinations

    def _timed(
        self, row: AnyRow, gate: AnyRow | None, destination: Destination
    ) -> Iterator[Waiting]:
        if row.due > self.now:
            # The configuration of now decides what is missing, not that of the last attempt.
            is_found = row.wait_reason in (None, WaitReason.NOT_CONFIGURED)
            yield Waiting(WaitReason.BACKOFF if is_found else row.wait_reason, row.due)
        if gate is None:
            return
        if gate.until and gate.until > self.now:
            yield Waiting(WaitReason.ASKED_TO_WAIT, gate.until)
        rate = self.configured.rates.get(destination)
        if rate and gate.next and (free := gate.next - burst_time(rate)) > self.now:
            yield Waiting(WaitReason.RATE, free)


def _values(delivery: Delivery) -> dict[str, Any]:
    return {field.name: getattr(delivery, field.name) for field in fields(Delivery)}


def _longest(ages: Iterable[tuple[K, timedelta]]) -> dict[K, float]:
    longest: dict[K, float] = {}
    for key, age in ages:
        longest[key] = max(age.total_seconds(), longest.get(key, 0.0))
    return longest
