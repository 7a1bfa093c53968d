"""The ledger: what came in, what is to be delivered, and what became of it.

One `Store` for SQLite and PostgreSQL. Every method is one transaction; times are handed in.
"""

from __future__ import annotations

from relay.store.accept import Doors
from relay.store.claims import Claims
from relay.store.engine import Database
from relay.store.errors import Conflict, NotFound, StoreUnavailable
from relay.store.figures import Figures
from relay.store.gates import Gate, Gates
from relay.store.lessons import Lessons
from relay.store.lists import Lists
from relay.store.migrate import Migrations
from relay.store.order import Entry, Functions, Upload
from relay.store.outcomes import Outcomes
from relay.store.queries import Queries
from relay.store.quiet import Quiet, Say
from relay.store.retention import Kept, Pruned, Retention
from relay.store.retrigger import Hand
from relay.store.scans import Scans
from relay.store.told import Told
from relay.store.values import (
    Accepted,
    Arrival,
    Attempt,
    DeliveryQuery,
    NewNotification,
    NewScan,
    Notification,
    Page,
    Scan,
    ScanStep,
)
from relay.store.wakes import Wakes


class Store(
    Doors,
    Claims,
    Outcomes,
    Quiet,
    Told,
    Hand,
    Queries,
    Lists,
    Figures,
    Gates,
    Lessons,
    Functions,
    Scans,
    Wakes,
    Retention,
    Migrations,
):
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
    "Accepted",
    "Arrival",
    "Attempt",
    "Conflict",
    "DeliveryQuery",
    "Entry",
    "Gate",
    "Kept",
    "NewNotification",
    "NewScan",
    "NotFound",
    "Notification",
    "Page",
    "Pruned",
    "Say",
    "Scan",
    "ScanStep",
    "Store",
    "StoreUnavailable",
    "Upload",
]
