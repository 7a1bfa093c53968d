"""What the web floor needs from the house: a desk that acts, and what every view is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from relay.config.load import Settings
from relay.intake.intake import Receipt
from relay.ledger import Ledger
from relay.model import Delivery, Incoming, Json
from relay.web.auth import Guard


class IntakeProtocol(Protocol):
    """Accepts notifications."""

    def accept(self, incoming: Incoming) -> Receipt:
        """Takes a notification: NotFound, Unverified, TooLarge, StoreUnavailable."""

    def replay(self, notification_id: str) -> Receipt:
        """Reads a stored notification again: NotFound, Unreadable."""


class OperationsProtocol(Protocol):
    """Acts on what people and programs ask for; reading is the store's."""

    @property
    def intake(self) -> IntakeProtocol:
        """Where notifications are accepted."""

    def plan(self, source: str, bucket: str, key: str, version: str | None = None) -> Json:
        """The dry run for an object; changes nothing. Raises RelayErrors."""

    def submit(
        self, source: str, bucket: str, key: str, version: str | None = None
    ) -> list[Delivery]:
        """Delivers an object that nobody announced. Raises RelayErrors."""

    def retrigger(
        self,
        delivery_id: str,
        options: Json | None = None,
        key: str | None = None,
        *,
        by: str | None = None,
        seen: int | None = None,
    ) -> Delivery:
        """Tries a delivery again: NotFound, Conflict. `key` is an Idempotency-Key; `by`: who asks;
        `seen`: only if there were so many attempts, and none was asked for since."""

    def scan(self, source: str) -> Json:
        """Enqueues what no event announced; see ScanShape. Raises RelayErrors."""

    def sources(self) -> list[Json]:
        """name, kind, last_notification, last_event, lag_seconds, errors, silent_since and silent
        (the Problem, or None) of every source."""

    def targets(self) -> list[Json]:
        """name, kind, state (open, paused, down, waiting), since and until of every target."""

    def pause(self, target: str) -> Json:
        """Holds a target back; as in `targets`. NotFound."""

    def resume(self, target: str) -> Json:
        """Opens it again; as in `targets`. NotFound."""


@dataclass(frozen=True, slots=True)
class WebContext:
    """What every view is handed."""

    settings: Settings
    ledger: Ledger
    desk: OperationsProtocol
    guard: Guard
    clock: Callable[[], datetime]
