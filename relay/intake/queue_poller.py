"""The other doors: a source's queue is polled, its objects are listed; both end in the intake."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from relay.errors import RelayError
from relay.intake.intake import Intake
from relay.intake.scanner import Scanner
from relay.ledger import Conflict
from relay.model import Incoming, Origin
from relay.sources.contract import Queue, StorageHandler

log = logging.getLogger(__name__)

WAIT = 5.0
"""Seconds one long poll lasts; a stopping worker waits no longer than this for it."""


class QueuePoller:
    """Pulls notifications of every source that has a queue, and scans those that ask for it."""

    def __init__(self, intake: Intake, *, clock: Callable[[], datetime]) -> None:
        self.intake = intake
        self.clock = clock
        self.wait = WAIT
        self.scanner = Scanner(intake, clock=clock)
        self._stopping = self.scanner.stopping
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts one thread for each queue and each scanned source; returns at once."""
        for name, handler in self.intake.sources.items():
            queue = handler.queue()
            if queue is not None:
                self._thread(f"pulls {name}", self._pull, name, queue)
            every = getattr(handler.settings, "scan_every", None)
            if every:
                self._thread(f"scans {name}", self._scan_often, handler, every)

    def ask_to_stop(self) -> None:
        """No new poll begins; returns at once."""
        self._stopping.set()

    def stop(self) -> None:
        """Ends the threads. A message in flight is not deleted, so it comes again."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=self.wait + 1)

    def pull_once(self, name: str, queue: Queue) -> int:
        """Accepts what the queue holds; only then deletes it there. Returns how many came."""
        messages = queue.receive(self.wait)
        for message in messages:
            now = self.clock()
            self.intake.pull(Incoming(name, message.body, now, Origin.QUEUE, method="", path=""))
        queue.delete(messages)
        return len(messages)

    def _pull(self, name: str, queue: Queue) -> None:
        try:
            while not self._stopping.is_set():
                self._patiently(name, lambda: self.pull_once(name, queue))
        finally:
            queue.close()

    def _scan_often(self, handler: StorageHandler, every: timedelta) -> None:
        began = self.clock()
        while not self._stopping.is_set():
            self._patiently(handler.name, lambda: self._scan_when_due(handler, began, every))

    def _scan_when_due(self, handler: StorageHandler, began: datetime, every: timedelta) -> None:
        """Once at our start, then so long after the last run, whichever process made that."""
        last = self.intake.ledger.scans.last(handler.name)
        due = last.ran + every if last and last.ran >= began else began
        if (left := due - self.clock()) > timedelta(0):
            self._stopping.wait(min(left, every).total_seconds())
            return
        try:
            self.scanner.scan_once(handler)
        except Conflict:
            self._stopping.wait(min(every.total_seconds(), 30))

    def _patiently(self, name: str, step: Callable[[], object]) -> None:
        try:
            step()
        except RelayError as error:
            log.warning("source not reachable", extra={"source": name, "error": str(error)})
            self._stopping.wait(5)
        except Exception:
            log.exception("source hit a bug", extra={"source": name})
            self._stopping.wait(5)

    def _thread(self, name: str, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name=f"relay {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
