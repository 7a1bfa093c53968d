"""Prints the changes of the demo's deliveries as they happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from relay.ledger import Attempt, DeliveryQuery
from relay.ledger.history import History
from relay.model import Delivery, Kind, State

Print = Callable[[str, str], None]
"""print_line(mark, text): mark is "", "ok", "bad" or "wait"."""


@dataclass
class DeliveryLog:
    """Prints each change of the notifications and deliveries created since `since`."""

    history: History
    since: datetime
    print_line: Print
    _printed: dict[str, tuple[State, int]] = field(default_factory=dict)
    _notifications: set[str] = field(default_factory=set)

    def print_changes(self) -> None:
        """Print what has changed since the last call."""
        page = self.history.notifications(limit=50, cursor=None)
        for notification in reversed(page.items):
            if notification.id in self._notifications or notification.received < self.since:
                continue
            self._notifications.add(notification.id)
            reason = f": {notification.reason}" if notification.reason else ""
            text = f"notification by {notification.origin}: {notification.verdict}{reason}"
            self.print_line("", text)
        for delivery in reversed(self.deliveries()):
            progress = (delivery.state, delivery.attempts)
            if self._printed.get(delivery.id) != progress:
                self._printed[delivery.id] = progress
                self._print(delivery)

    def deliveries(self) -> list[Delivery]:
        """Return every delivery created since `since`, newest first."""
        return list(self.history.deliveries(DeliveryQuery(since=self.since, limit=200)).items)

    def _print(self, delivery: Delivery) -> None:
        if delivery.kind == Kind.MESSAGE:
            self._print_message(delivery)
            return
        object_name = f"{delivery.bucket}/{delivery.key}"
        match delivery.state:
            case State.PENDING if not delivery.attempts:
                text = f"delivery {delivery.id}: {object_name} → {delivery.destination}"
                self.print_line("", text)
            case State.PENDING:
                failure = _failure(self._last_attempt(delivery))
                self.print_line("wait", f"{failure}; next attempt {_due(delivery)}")
            case State.RUNNING:
                self.print_line("", f"attempt {delivery.attempts}: opening {object_name}")
            case State.SUCCEEDED:
                result = delivery.result or {}
                text = f"import {result.get('how', 'done')}: {result.get('func_urn')}"
                self.print_line("ok", text)
            case State.SKIPPED:
                self.print_line("ok", f"skipped: {delivery.reason}")
            case State.FAILED:
                self.print_line("bad", f"import failed: {_problem(delivery)}")

    def _print_message(self, delivery: Delivery) -> None:
        name = f"message to {delivery.destination}"
        match delivery.state:
            case State.SUCCEEDED:
                self.print_line("ok", f"{name}: posted")
            case State.SKIPPED:
                self.print_line("ok", f"{name}: included in a digest")
            case State.FAILED:
                self.print_line("bad", f"{name} failed: {_problem(delivery)}")
            case State.PENDING if delivery.attempts:
                failure = _failure(self._last_attempt(delivery))
                self.print_line("wait", f"{name}: {failure}; next attempt {_due(delivery)}")

    def _last_attempt(self, delivery: Delivery) -> Attempt | None:
        attempts = self.history.attempts(delivery.id)
        return attempts[-1] if attempts else None


def _failure(attempt: Attempt | None) -> str:
    if attempt is None or attempt.error is None:
        return "the attempt ended without a response"
    return f"attempt {attempt.number} failed: {attempt.error.message.en} ({attempt.error.code})"


def _due(delivery: Delivery) -> str:
    return f"at {delivery.due:%H:%M:%S}" if delivery.due else "later"


def _problem(delivery: Delivery) -> str:
    error = delivery.error
    return f"{error.message.en} ({error.code}). {error.hint.en}" if error else "no reason recorded"
