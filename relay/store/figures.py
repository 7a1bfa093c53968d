"""Figures of the ledger, for metrics and pages."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select

from relay.model import Kind, State, Verdict
from relay.store.engine import Part
from relay.store.rows import AnyRow
from relay.store.schema import PENDING, RUNNING, attempts, deliveries, events, notifications, totals

_COUNT = func.count().label("number")


class Figures(Part):
    """How much is there, and how late it is."""

    def counts(self) -> dict[tuple[Kind, State], int]:
        """Deliveries by kind and state."""
        columns = deliveries.c.kind, deliveries.c.state
        rows = self._rows(select(*columns, _COUNT).group_by(*columns))
        return {(row.kind, row.state): row.number for row in rows}

    def oldest_due(self, now: datetime) -> dict[Kind, float]:
        """Seconds since the oldest due delivery of each kind became due; absent: none is due.

        One that is running is due again once its lease has ended.
        """
        found: dict[Kind, float] = {}
        for state, since in ((PENDING, deliveries.c.due), (RUNNING, deliveries.c.leased_until)):
            oldest = func.min(since).label("oldest")
            query = select(deliveries.c.kind, oldest).where(state, since <= now)
            for row in self._rows(query.group_by(deliveries.c.kind)):
                late = (now - row.oldest).total_seconds()
                found[row.kind] = max(late, found.get(row.kind, 0.0))
        return found

    def last_events(self) -> dict[str, datetime]:
        """When the last new event of each source came in."""
        last = func.max(events.c.received).label("last")
        rows = self._rows(select(events.c.source, last).group_by(events.c.source))
        return {row.source: row.last for row in rows}

    def last_notifications(self) -> dict[str, datetime]:
        """When the last notification of each source came in, whatever its verdict."""
        last = func.max(notifications.c.received).label("last")
        rows = self._rows(select(notifications.c.source, last).group_by(notifications.c.source))
        return {row.source: row.last for row in rows}

    def event_counts(self) -> dict[str, int]:
        """Events by source, each upload once."""
        rows = self._rows(select(events.c.source, _COUNT).group_by(events.c.source))
        counts = Counter({row.source: row.number for row in rows})
        for row in self._gone("events"):
            counts[row.first] += row.number
        return dict(counts)

    def attempt_counts(self) -> dict[tuple[Kind, str, str], int]:
        """Finished attempts by kind, destination and outcome."""
        columns = attempts.c.kind, attempts.c.destination, attempts.c.outcome
        query = select(*columns, _COUNT).where(attempts.c.outcome.is_not(None)).group_by(*columns)
        rows = self._rows(query)
        counts = Counter({(row.kind, row.destination, row.outcome): row.number for row in rows})
        for row in self._gone("attempts"):
            counts[Kind(row.first), row.second, row.third] += row.number
        return dict(counts)

    def notification_counts(self) -> dict[tuple[str, Verdict], int]:
        """Notifications by source and verdict."""
        columns = notifications.c.source, notifications.c.verdict
        rows = self._rows(select(*columns, _COUNT).group_by(*columns))
        counts = Counter({(row.source, row.verdict): row.number for row in rows})
        for row in self._gone("notifications"):
            counts[row.first, Verdict(row.second)] += row.number
        return dict(counts)

    def _gone(self, what: str) -> list[AnyRow]:
        """What was counted of things that retention took away."""
        return self._rows(select(totals).where(totals.c.what == what))

    def _rows(self, query: Select[Any]) -> list[AnyRow]:
        with self._database.read() as connection:
            return list(connection.execute(query).all())
