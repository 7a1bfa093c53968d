"""A fair (FIFO) lock."""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """A lock that wakes waiting threads in the order in which they arrived.

    threading.Lock wakes them in any order, so that a thread may starve.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: deque[threading.Event] = deque()
        self._locked = False

    def acquire(self, timeout: float) -> bool:
        """Wait for the lock. Returns False if the timeout (in seconds) passes first."""
        with self._lock:
            if not self._locked:
                self._locked = True
                return True
            waiter = threading.Event()
            self._waiters.append(waiter)
        if waiter.wait(timeout):
            return True
        with self._lock:
            if waiter.is_set():  # the lock was handed over just after the timeout
                return True
            self._waiters.remove(waiter)
            return False

    def release(self) -> None:
        """Hand the lock to the longest waiting thread, if any."""
        with self._lock:
            if self._waiters:
                self._waiters.popleft().set()
            else:
                self._locked = False
