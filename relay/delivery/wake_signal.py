"""Wakes the threads of this process that wait for due deliveries."""

from __future__ import annotations

import threading


class WakeSignal:
    """A condition with a counter. Rung by the intake and after every run."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def ring(self) -> None:
        """Wakes all waiting threads."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Waits at most `seconds` for a ring after count `seen`; returns the current count."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != seen, seconds)
            return self._count
