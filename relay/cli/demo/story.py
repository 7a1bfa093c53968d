"""Tells what happens in the ledger, line by line, as it happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from relay.ledger import Attempt, DeliveryQuery, Ledger
from relay.model import Delivery, Kind, State

Say = Callable[[str, str], None]
"""say(mark, words): mark is one of "", "ok", "bad", "wait"."""


@dataclass
class DeliveryLog:
    """Follows every delivery made since `since`; `tell()` says what changed meanwhile."""

    ledger: Ledger
    since: datetime
    say: Say
    _seen: dict[str, tuple[State, int]] = field(default_factory=dict)
    _notifications: set[str] = field(default_factory=set)

    def tell(self) -> None:
        page = self.ledger.history.notifications(limit=50, cursor=None)
        for notification in reversed(page.items):
            if notification.id in self._notifications or notification.received < self.since:
                continue
            self._notifications.add(notification.id)
            why = f": {notification.reason}" if notification.reason else ""
            self.say("", f"notification by {notification.road}: {notification.verdict}{why}")
        for delivery in reversed(self.deliveries()):
            now = (delivery.state, delivery.attempts)
            if self._seen.get(delivery.id) != now:
                self._seen[delivery.id] = now
                self._tell(delivery)

    def deliveries(self) -> list[Delivery]:
        """Every delivery made since the story began, newest first."""
        return list(
            self.ledger.history.deliveries(DeliveryQuery(since=self.since, limit=200)).items
        )

    def _tell(self, delivery: Delivery) -> None:
        if delivery.kind == Kind.MESSAGE:
            self._message(delivery)
            return
        object_name = f"{delivery.bucket}/{delivery.key}"
        match delivery.state:
            case State.PENDING if not delivery.attempts:
                self.say("", f"delivery {delivery.id}: {object_name} → {delivery.destination}")
            case State.PENDING:
                self.say("wait", f"{_failed(self._last(delivery))}; tried again {_due(delivery)}")
            case State.RUNNING:
                self.say("", f"attempt {delivery.attempts}: opening {object_name}")
            case State.SUCCEEDED:
                result = delivery.result or {}
                self.say("ok", f"import {result.get('how', 'done')}: {result.get('func_urn')}")
            case State.SKIPPED:
                self.say("ok", f"skipped: {delivery.reason}")
            case State.FAILED:
                self.say("bad", f"import failed: {_problem(delivery)}")

    def _message(self, delivery: Delivery) -> None:
        match delivery.state:
            case State.SUCCEEDED:
                self.say("ok", f"message to {delivery.destination}: posted")
            case State.SKIPPED:
                self.say("ok", f"message to {delivery.destination}: told in a digest")
            case State.FAILED:
                self.say("bad", f"message to {delivery.destination} failed: {_problem(delivery)}")
            case State.PENDING if delivery.attempts:
                told = _failed(self._last(delivery))
                self.say("wait", f"message to {delivery.destination}: {told}; {_due(delivery)}")

    def _last(self, delivery: Delivery) -> Attempt | None:
        attempts = self.ledger.history.attempts(delivery.id)
        return attempts[-1] if attempts else None


def _failed(attempt: Attempt | None) -> str:
    if attempt is None or attempt.error is None:
        return "the attempt ended without an answer"
    return f"attempt {attempt.number} failed: {attempt.error.message.en} ({attempt.error.code})"


def _due(delivery: Delivery) -> str:
    return f"at {delivery.due:%H:%M:%S}" if delivery.due else "later"


def _problem(delivery: Delivery) -> str:
    error = delivery.error
    return f"{error.message.en} ({error.code}). {error.hint.en}" if error else "no reason kept"
