"""Counts and times for metrics and pages, at a cost that does not grow with the history."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, literal, select, union_all

from relay.ledger.database import LedgerPart
from relay.ledger.rows import AnyRow
from relay.ledger.schema import (
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
# Pending and running deliveries are counted in their partial indexes.
_PENDING = WAITING.with_only_columns(deliveries.c.kind)
_RUNNING = UNDER_WAY.with_only_columns(deliveries.c.kind)
_DELIVERIES = union_all(
    _FINISHED.group_by(totals.c.first, totals.c.second),
    *(
        query.add_columns(literal(str(state)), func.count()).group_by(deliveries.c.kind)
        for query, state in ((_PENDING, State.PENDING), (_RUNNING, State.RUNNING))
    ),
)


class Statistics(LedgerPart):
    """Counts records; see Waits for those that are pending."""

    def counts(self) -> dict[tuple[Kind, State], int]:
        """Return the number of deliveries by kind and state."""
        with self._database.read() as connection:
            rows = connection.execute(_DELIVERIES).all()
        return {(Kind(kind), State(state)): int(number) for kind, state, number in rows if number}

    def last_events(self) -> dict[str, datetime]:
        """Return when the last new event of each source arrived."""
        last = select(func.max(events.c.received)).where(events.c.source == totals.c.first)
        return self._last("events", last)

    def last_notifications(self) -> dict[str, datetime]:
        """Return when the last notification of each source arrived, with any verdict."""
        received, found = notifications.c.received, dict[str, datetime]()
        for origin in Origin:  # the index has the origin before the time
            this = notifications.c.source == totals.c.first, notifications.c.origin == origin
            for source, moment in self._last(
                "notifications", select(func.max(received)).where(*this)
            ).items():
                found[source] = max(moment, found.get(source, moment))
        return found

    def event_counts(self) -> dict[str, int]:
        """Return the number of events by source; an upload counts once."""
        return {source: number for (source, _, _), number in self._totals("events").items()}

    def attempt_counts(self) -> dict[tuple[Kind, str, str], int]:
        """Return the number of finished attempts by kind, destination and outcome."""
        return {
            (Kind(kind), destination, outcome): number
            for (kind, destination, outcome), number in self._totals("attempts").items()
        }

    def notification_counts(self) -> dict[tuple[str, Verdict], int]:
        """Return the number of notifications by source and verdict."""
        return {
            (source, Verdict(verdict)): number
            for (source, verdict, _), number in self._totals("notifications").items()
        }

    def _last(self, what: str, last: Select[tuple[datetime]]) -> dict[str, datetime]:
        """Return the value of `last` for each source in the totals."""
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
