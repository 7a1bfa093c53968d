"""Runs: deliveries under way in this process, and what is told of those that end it."""

from __future__ import annotations

import threading
from time import monotonic

from relay.model import Claim, Problem, Text

CRASHES = 3
"""Deaths of its worker in a row after which a delivery is not tried again by itself."""


class Run:
    """One delivery under way, and its seat."""

    def __init__(self, claim: Claim, seats: threading.Semaphore | None) -> None:
        self.claim = claim
        self.started = self.sign = monotonic()
        self.lost = False
        self._seats = seats
        self._lock = threading.Lock()

    def leave(self) -> None:
        """Gives the seat to the next one; once, whoever asks first."""
        with self._lock:
            seats, self._seats = self._seats, None
        if seats is not None:
            seats.release()


def crashed(times: int) -> Problem:
    return Problem(
        "delivery.crashes",
        Text(
            f"The worker died {times} times in a row while it was at this delivery",
            f"处理该投递时工作进程连续 {times} 次异常退出",
        ),
        Text(
            "Look at the process's end in its logs (memory limit, crash of a plug-in), then "
            "retrigger.",
            "请查看进程日志中的退出原因(内存限制、插件崩溃等), 然后重新触发。",
        ),
    )
