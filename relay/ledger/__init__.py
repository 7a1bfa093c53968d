"""The ledger: what came in, what is to be delivered, and what became of it.

One `Ledger` for SQLite and PostgreSQL. Every method is one transaction; times are handed in.
"""

from __future__ import annotations

from relay.ledger.accept import Intake
from relay.ledger.batching import MessageBatching, PostDecision
from relay.ledger.claims import Queue
from relay.ledger.database import Database
from relay.ledger.errors import Conflict, LedgerUnavailable, NotFound
from relay.ledger.finish import Outcomes
from relay.ledger.function_order import FunctionLock, FunctionOrder, UploadPosition
from relay.ledger.gates import Destinations, Gate
from relay.ledger.history import History
from relay.ledger.listen import ChangeListener
from relay.ledger.migrate import Administration
from relay.ledger.retention import PruneResult, Retention, RetentionPolicy
from relay.ledger.retrigger import Retriggers
from relay.ledger.scans import Scans
from relay.ledger.stats import Statistics
from relay.ledger.target_digests import TargetDigests
from relay.ledger.values import (
    Accepted,
    Attempt,
    DeliveryQuery,
    NewNotification,
    NewScan,
    Notification,
    Page,
    RoutedEvent,
    Scan,
    ScanStep,
)


class Ledger:
    """The ledger, shared by all threads of a process. Any method may raise LedgerUnavailable.

    A caller receives the part that it needs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.intake = Intake(database)
        self.queue = Queue(database)
        self.outcomes = Outcomes(database)
        self.batching = MessageBatching(database)
        self.functions = FunctionOrder(database)
        self.digests = TargetDigests(database)
        self.retriggers = Retriggers(database)
        self.history = History(database)
        self.destinations = Destinations(database)
        self.scans = Scans(database)
        self.statistics = Statistics(database)
        self.retention = Retention(database)
        self.listener = ChangeListener(database)
        self.administration = Administration(database)

    @classmethod
    def open(cls, url: str) -> Ledger:
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
    "Attempt",
    "Conflict",
    "DeliveryQuery",
    "FunctionLock",
    "Gate",
    "Ledger",
    "LedgerUnavailable",
    "NewNotification",
    "NewScan",
    "NotFound",
    "Notification",
    "Page",
    "PostDecision",
    "PruneResult",
    "RetentionPolicy",
    "RoutedEvent",
    "Scan",
    "ScanStep",
    "UploadPosition",
]
