"""Detects wall-clock jumps and shifts due times in the database accordingly."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from relay.ledger.queue import DeliveryQueue

log = logging.getLogger(__name__)

TOLERANCE = timedelta(seconds=2)
"""Tolerated drift between wall clock and monotonic clock."""


class ClockWatch:
    """Compares the wall clock with the monotonic clock. Used by many threads."""

    def __init__(self, queue: DeliveryQueue, clock: Callable[[], datetime]) -> None:
        self._queue = queue
        self._clock = clock
        self._lock = threading.Lock()
        self._epoch = _monotonic_epoch(clock())

    def check(self, on_jump: Callable[[], None]) -> datetime:
        """Return the current time; after a clock jump, call `on_jump` first.

        A jump makes leases look expired or never-ending. After a jump back, pending due times
        move back too, because deliveries would otherwise wait that much longer. Raises
        LedgerUnavailable; the next call then detects the same jump.
        """
        with self._lock:
            now = self._clock()
            jump = _monotonic_epoch(now) - self._epoch
            if abs(jump) < TOLERANCE:
                return now
            if jump < timedelta(0):
                log.warning("clock turned back", extra={"seconds": -jump.total_seconds()})
                self._queue.shift_due_times(-jump, now)
            on_jump()
            self._epoch += jump
            return now


def _monotonic_epoch(now: datetime) -> datetime:
    """The wall-clock time at which the monotonic clock was zero."""
    return now - timedelta(seconds=monotonic())
