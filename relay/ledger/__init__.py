"""The ledger: the database of notifications, events, deliveries and their attempts.

`Ledger` serves SQLite and PostgreSQL. Each method runs in its own transaction and takes the time as
an argument.
"""

from __future__ import annotations

from relay.ledger.administration import Administration
from relay.ledger.batching import MessageBatching, PostDecision
from relay.ledger.database import Database
from relay.ledger.destinations import Destinations, Gate
from relay.ledger.errors import Conflict, LedgerUnavailable, NotFound
from relay.ledger.functions import FunctionLock, FunctionOrder, UploadPosition
from relay.ledger.history import History
from relay.ledger.intake import NotificationIntake
from relay.ledger.intents import Intents
from relay.ledger.listener import ChangeListener
from relay.ledger.missing_tables import MissingTables
from relay.ledger.outcomes import FinishResult, Outcomes
from relay.ledger.queue import DeliveryQueue
from relay.ledger.retention import PruneResult, Retention, RetentionPolicy
from relay.ledger.retriggers import Retriggers
from relay.ledger.scans import Scans
from relay.ledger.statistics import Statistics
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
from relay.ledger.waits import Backlog, Configured, Waits


class Ledger:
    """The database, shared by all threads of a process. The parts group the methods by task.

    Any method may raise LedgerUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.intake = NotificationIntake(database)
        self.queue = DeliveryQueue(database)
        self.outcomes = Outcomes(database)
        self.batching = MessageBatching(database)
        self.intents = Intents(database)
        self.functions = FunctionOrder(database)
        self.digests = TargetDigests(database)
        self.retriggers = Retriggers(database)
        self.history = History(database)
        self.destinations = Destinations(database)
        self.scans = Scans(database)
        self.statistics = Statistics(database)
        self.waits = Waits(database)
        self.missing = MissingTables(database)
        self.retention = Retention(database)
        self.listener = ChangeListener(database)
        self.administration = Administration(database)

    @classmethod
    def open(cls, url: str) -> Ledger:
        """Open the ledger at a database URL; connect at first use.

        The URL is "sqlite:///var/relay.db" (relative to the working directory, or absolute with a
        fourth slash) or "postgresql://user@host/name". Raises ConfigError.
        """
        return cls(Database.open(url))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()


__all__ = [
    "Accepted",
    "Attempt",
    "Backlog",
    "Configured",
    "Conflict",
    "DeliveryQuery",
    "FinishResult",
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
