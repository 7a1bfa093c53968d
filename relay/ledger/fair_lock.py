"""A lock that lets threads in by the order in which they came, so that none starves."""

from __future__ import annotations

import threading
from collections import deque


class FairLock:
    """Like threading.Lock, whose waiters are woken in any order, but fair."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        self._taken = False

    def acquire(self, seconds: float) -> bool:
        """Waits for the turn; False when it did not come in time."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            mine = threading.Event()
            self._queue.append(mine)
        if mine.wait(seconds):
            return True
        with self._lock:
            if mine.is_set():  # handed over just as the time ran out
                return True
            self._queue.remove(mine)
            return False

    def release(self) -> None:
        """Hands the turn to the next thread, if any waits."""
        with self._lock:
            if self._queue:
                self._queue.popleft().set()
            else:
                self._taken = False
