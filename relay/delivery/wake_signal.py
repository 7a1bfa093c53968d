"""Wakes the threads of this process that wait for due deliveries."""

from __future__ import annotations

import threading


class WakeSignal:
    """A condition with a counter. Notified by the intake and after every run."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def notify(self) -> None:
        """Wake all waiting threads."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Wait at most `seconds` while the count is `seen`; return the current count."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, seconds)
            return self._count
