"""Polls the queues of sources and scans sources on schedule; both feed the intake."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from relay.errors import RelayError
from relay.intake.intake import Intake
from relay.intake.scanner import Scanner
from relay.ledger import Conflict
from relay.ledger.scans import Scans
from relay.model import Incoming, Origin
from relay.sources.contract import Queue, StorageHandler

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""Duration of a long poll; stopping takes at most this long."""

ERROR_PAUSE = 5.0
"""Seconds to wait after an error of a source."""


class QueuePoller:
    """Runs a thread for each queue and for each source with `scan_every`."""

    def __init__(self, intake: Intake, scans: Scans, *, clock: Callable[[], datetime]) -> None:
        self.intake = intake
        self.scans = scans
        self.clock = clock
        self.wait = POLL_SECONDS
        self.scanner = Scanner(intake, scans, clock=clock)
        self._stopping = self.scanner.stopping
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; return at once."""
        for name, handler in self.intake.sources.items():
            queue = handler.queue()
            if queue is not None:
                self._thread(f"pulls {name}", self._poll_loop, name, queue)
            interval = getattr(handler.settings, "scan_every", None)
            if interval:
                self._thread(f"scans {name}", self._scan_loop, handler, interval)

    def ask_to_stop(self) -> None:
        """Start no more polls or scans; return at once."""
        self._stopping.set()

    def stop(self) -> None:
        """End the threads. A message in progress is not deleted, so the queue redelivers it."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=self.wait + 1)

    def poll_once(self, name: str, queue: Queue) -> int:
        """Accept the messages of a poll, then delete them; return their number."""
        messages = queue.receive(self.wait)
        for message in messages:
            self.intake.accept_queued(
                Incoming(name, message.body, self.clock(), Origin.QUEUE, method="", path="")
            )
        queue.delete(messages)
        return len(messages)

    def _poll_loop(self, name: str, queue: Queue) -> None:
        try:
            while not self._stopping.is_set():
                self._log_errors(name, lambda: self.poll_once(name, queue))
        finally:
            queue.close()

    def _scan_loop(self, handler: StorageHandler, interval: timedelta) -> None:
        started = self.clock()
        while not self._stopping.is_set():
            self._log_errors(handler.name, lambda: self._scan_when_due(handler, started, interval))

    def _scan_when_due(
        self, handler: StorageHandler, started: datetime, interval: timedelta
    ) -> None:
        """Scan once after our start, then `interval` after the last run of any process."""
        last = self.scans.last(handler.name)
        due = last.ran + interval if last and last.ran >= started else started
        if (left := due - self.clock()) > timedelta(0):
            self._stopping.wait(min(left, interval).total_seconds())
            return
        try:
            self.scanner.scan_once(handler)
        except Conflict:  # Another process is scanning.
            self._stopping.wait(min(interval.total_seconds(), 30))

    def _log_errors(self, name: str, step: Callable[[], object]) -> None:
        """Log any error of a background loop and pause, so that the loop goes on."""
        try:
            step()
        except RelayError as error:
            log.warning("source not reachable", extra={"source": name, "error": str(error)})
            self._stopping.wait(ERROR_PAUSE)
        except Exception:
            log.exception("source hit a bug", extra={"source": name})
            self._stopping.wait(ERROR_PAUSE)

    def _thread(self, name: str, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name=f"relay {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
