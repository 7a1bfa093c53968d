"""Sees that this machine's clock was turned, and sets right what the ledger waits for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

from relay.ledger.queue import DeliveryQueue

log = logging.getLogger(__name__)

SLACK = timedelta(seconds=2)
"""By so much may the clock be off before anything is done about it."""


class ClockWatch:
    """Compares the clock with one that nobody can turn. Used by many threads."""

    def __init__(self, queue: DeliveryQueue, clock: Callable[[], datetime]) -> None:
        self._queue = queue
        self._clock = clock
        self._lock = threading.Lock()
        self._zero = _zero(clock())

    def mind(self, renew: Callable[[], None]) -> datetime:
        """The time, looked at. After a turn `renew` is called first, for our leases seem to have
        ended or to last for ever; and after one back what waits is due so much earlier, else it
        would wait for as long again.

        Raises StoreUnavailable, and then the turn is seen again.
        """
        with self._lock:
            now = self._clock()
            by = _zero(now) - self._zero
            if abs(by) < SLACK:
                return now
            if by < timedelta(0):
                log.warning("clock turned back", extra={"seconds": -by.total_seconds()})
                self._queue.shift_due_times(-by, now)
            renew()
            self._zero += by
            return now


def _zero(now: datetime) -> datetime:
    """What the clock showed when the steady one began."""
    return now - timedelta(seconds=monotonic())
