"""Stop signals of long-running commands: SIGTERM, Ctrl-C and the end of the terminal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

POLL_INTERVAL = 0.5
"""Seconds between two checks in `StopSignal.wait`."""


class StopSignal:
    """Set by the first stop signal."""

    def __init__(self) -> None:
        self._received = threading.Event()

    def set(self, *_: object) -> None:
        """Handle a signal."""
        self._received.set()

    def wait(self) -> None:
        """Block until a stop signal arrives."""
        # The kernel may deliver a signal to any thread, but Python runs the handler only in the
        # main thread, between two bytecodes. A wait without a timeout would never return to it.
        while not self.wait_for(POLL_INTERVAL):
            pass

    def wait_for(self, seconds: float) -> bool:
        """Wait at most `seconds`; return True if a stop signal has arrived."""
        return self._received.wait(seconds)


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Catch the stop signals instead of ending the process.

    SIGTERM and SIGINT are caught even where they were ignored: a shell script ignores SIGINT for
    the processes that it starts in the background. An ignored SIGHUP stays ignored, because `nohup`
    means that the process must outlive the terminal.
    """
    stop = StopSignal()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        numbers.append(signal.SIGHUP)
    previous = [signal.signal(number, stop.set) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
