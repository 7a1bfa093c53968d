"""Stop: what a command that goes on by itself waits for: SIGTERM, Ctrl-C, its terminal's end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOOK = 0.5
"""Seconds between two looks whether it came."""


class Stop:
    """The first of them, as it was heard."""

    def __init__(self) -> None:
        self._heard = threading.Event()

    def hear(self, *_: object) -> None:
        self._heard.set()

    def wait(self) -> None:
        """Until it comes."""
        # The kernel may hand a signal to any thread, and Python acts on it in this one alone,
        # once it runs: it would not hear of it in a wait without end.
        while not self.came_within(LOOK):
            pass

    def came_within(self, seconds: float) -> bool:
        """Waits no longer than that; True when it has come."""
        return self._heard.wait(seconds)


@contextmanager
def stop_signal() -> Iterator[Stop]:
    """From here on they do not end the process: what is yielded waits for the first of them.

    SIGTERM and Ctrl-C are heard even where they were ignored, as Ctrl-C is by all that a shell's
    script starts in the background. SIGHUP is not: who ignored it wants the process to go on when
    the terminal is closed (nohup).
    """
    stop = Stop()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, stop.hear) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
