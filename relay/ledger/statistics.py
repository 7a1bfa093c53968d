"""Figures of the ledger, for metrics and pages: none of them costs more as the history grows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all

from relay.ledger.database import LedgerPart
from relay.ledger.next_due import pending_destinations
from relay.ledger.rows import AnyRow
from relay.ledger.schema import (
    PENDING,
    UNDER_WAY,
    WAITING,
    deliveries,
    events,
    notifications,
    totals,
)
from relay.model import Kind, Origin, State, Verdict

_LABELS = totals.c.first, totals.c.second, totals.c.third
_NUMBER = func.sum(totals.c.number).label("number")
_FINISHED = select(totals.c.first, totals.c.second, _NUMBER).where(totals.c.what == "deliveries")
# What waits and what runs is counted where it stands: in indexes of nothing else.
_PENDING = WAITING.with_only_columns(deliveries.c.kind)
_RUNNING = UNDER_WAY.with_only_columns(deliveries.c.kind)
_DELIVERIES = union_all(
    _FINISHED.group_by(totals.c.first, totals.c.second),
    *(
        query.add_columns(literal(str(word)), func.count()).group_by(deliveries.c.kind)
        for query, word in ((_PENDING, State.PENDING), (_RUNNING, State.RUNNING))
    ),
)


class Statistics(LedgerPart):
    """How much is there, and how late it is."""

    def counts(self) -> dict[tuple[Kind, State], int]:
        """Deliveries by kind and state."""
        with self._database.read() as connection:
            rows = connection.execute(_DELIVERIES).all()
        return {(Kind(kind), State(state)): int(number) for kind, state, number in rows if number}

    def oldest_due(self, now: datetime) -> dict[Kind, float]:
        """Seconds since the oldest due delivery of each kind became due; absent: none is due.

        One that is running is due again once its lease has ended.
        """
        found: dict[Kind, float] = {}
        for kind, moment in self._due(now):
            found[kind] = max((now - moment).total_seconds(), found.get(kind, 0.0))
        return found

    def last_events(self) -> dict[str, datetime]:
        """When the last new event of each source came in."""
        last = select(func.max(events.c.received)).where(events.c.source == totals.c.first)
        return self._last("events", last)

    def last_notifications(self) -> dict[str, datetime]:
        """When the last notification of each source came in, whatever its verdict."""
        received, found = notifications.c.received, dict[str, datetime]()
        for road in Origin:  # the index has the road before the moment
            ours = notifications.c.source == totals.c.first, notifications.c.road == road
            for source, moment in self._last(
                "notifications", select(func.max(received)).where(*ours)
            ).items():
                found[source] = max(moment, found.get(source, moment))
        return found

    def event_counts(self) -> dict[str, int]:
        """Events by source, each upload once."""
        return {source: number for (source, _, _), number in self._totals("events").items()}

    def attempt_counts(self) -> dict[tuple[Kind, str, str], int]:
        """Finished attempts by kind, destination and outcome."""
        counted = self._totals("attempts").items()
        return {(Kind(kind), where, outcome): n for (kind, where, outcome), n in counted}

    def notification_counts(self) -> dict[tuple[str, Verdict], int]:
        """Notifications by source and verdict."""
        counted = self._totals("notifications").items()
        return {(source, Verdict(verdict)): number for (source, verdict, _), number in counted}

    def _due(self, now: datetime) -> list[tuple[Kind, datetime]]:
        """For each lane since when its oldest delivery is due, and since when leases are over."""
        oldest = func.min(deliveries.c.due)
        with self._database.read() as connection:
            found = [
                (kind, connection.execute(select(oldest).where(*_of(kind, destination))).scalar())
                for kind, destination in pending_destinations(connection)
            ]
            over = UNDER_WAY.with_only_columns(deliveries.c.kind, deliveries.c.leased_until)
            found += [(row.kind, row.leased_until) for row in connection.execute(over)]
        return [(kind, moment) for kind, moment in found if moment is not None and moment <= now]

    def _last(self, what: str, last: Select[tuple[datetime]]) -> dict[str, datetime]:
        """The last moment of each source that was ever counted."""
        query = select(totals.c.first, last.scalar_subquery().label("last"))
        rows = self._rows(query.where(totals.c.what == what).distinct())
        return {row.first: row.last for row in rows if row.last is not None}

    def _totals(self, what: str) -> dict[tuple[str, str, str], int]:
        query = select(*_LABELS, _NUMBER).where(totals.c.what == what).group_by(*_LABELS)
        rows = self._rows(query)
        return {(row.first, row.second, row.third): int(row.number) for row in rows if row.number}

    def _rows(self, query: Select[Any]) -> list[AnyRow]:
        with self._database.read() as connection:
            return list(connection.execute(query).all())


def _of(kind: Kind, destination: str) -> tuple[ColumnElement[bool], ...]:
    return PENDING, deliveries.c.kind == kind, deliveries.c.destination == destination
