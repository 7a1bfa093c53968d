"""The ledger: what came in, what is to be delivered, and what became of it.

One `Store` for SQLite and PostgreSQL. Every method is one transaction; times are handed in.
"""

from __future__ import annotations

from relay.store.accept import Doors
from relay.store.claims import Claims
from relay.store.engine import Database
from relay.store.errors import Conflict, NotFound, StoreUnavailable
from relay.store.figures import Figures
from relay.store.lessons import Lessons
from relay.store.lists import Lists
from relay.store.migrate import Migrations
from relay.store.outcomes import Outcomes
from relay.store.queries import Queries
from relay.store.retrigger import Hand
from relay.store.values import (
    UNDER_WAY,
    Accepted,
    Arrival,
    DeliveryQuery,
    NewNotification,
    Notification,
    Page,
)


class Store(Doors, Claims, Outcomes, Hand, Queries, Lists, Figures, Lessons, Migrations):
    """The ledger, used by many threads at once. Every method may raise StoreUnavailable."""

    @classmethod
    def open(cls, url: str) -> Store:
        """Opens the ledger at a database URL; connects at first use.

        "sqlite:///var/relay.db" (relative to the working directory, or absolute with a fourth
        slash) or "postgresql://user@host/name". Raises ConfigError.
        """
        return cls(Database.open(url))

    def close(self) -> None:
        """Gives the connections back."""
        self._database.close()


__all__ = [
    "UNDER_WAY",
    "Accepted",
    "Arrival",
    "Conflict",
    "DeliveryQuery",
    "NewNotification",
    "NotFound",
    "Notification",
    "Page",
    "Store",
    "StoreUnavailable",
]
