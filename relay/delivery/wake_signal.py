"""Bell: wakes everybody in this process who waits for deliveries."""

from __future__ import annotations

import threading


class WakeSignal:
    """Wakes everybody who waits for work. Rung by the intake and by every recorded outcome."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self._count = 0

    def ring(self) -> None:
        with self._rung:
            self._count += 1
            self._rung.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Waits until it was rung since `seen`, or that long; returns what to hand in next time."""
        with self._rung:
            self._rung.wait_for(lambda: self._count != seen, seconds)
            return self._count
