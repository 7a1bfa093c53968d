"""The ledger: what came in, what is to be delivered, and what became of it.

One `Store` for SQLite and PostgreSQL. Every method is one transaction; times are handed in.
"""

from __future__ import annotations

from relay.ledger.accept import Doors
from relay.ledger.batching import Quiet, Say
from relay.ledger.claims import Claims
from relay.ledger.database import Database
from relay.ledger.errors import Conflict, NotFound, StoreUnavailable
from relay.ledger.finish import Outcomes
from relay.ledger.function_order import Entry, Functions, Upload
from relay.ledger.gates import Gate, Gates
from relay.ledger.listen import Wakes
from relay.ledger.message_history import Told
from relay.ledger.migrate import Migrations
from relay.ledger.pages import Lists
from relay.ledger.queries import Queries
from relay.ledger.retention import Kept, Pruned, Retention
from relay.ledger.retrigger import Hand
from relay.ledger.scans import Scans
from relay.ledger.stats import Figures
from relay.ledger.target_digests import Lessons
from relay.ledger.values import (
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
