"""Stop: what a command that goes on by itself waits for: SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK = 0.5
"""Seconds between two looks whether it came."""


@contextmanager
def stop_signal() -> Iterator[Callable[[], None]]:
    """From here on they do not end the process: what is yielded waits for the first of them."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]

    def wait() -> None:
        # The kernel may hand a signal to any thread, and Python acts on it in this one alone,
        # once it runs: it would not hear of it in a wait without end.
        while not stop.wait(LOOK):
            pass

    try:
        yield wait
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
