"""The other doors: a source's queue is polled, its objects are listed; both end in the intake."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import islice

from relay.errors import RelayError
from relay.handler import Queue, StorageHandler
from relay.intake import Intake
from relay.model import Event, Incoming, Json, Road

log = logging.getLogger(__name__)

WAIT = 5.0
"""Seconds one long poll lasts; a stopping worker waits no longer than this for it."""
BATCH = 100
"""Found objects that one notification of a scan holds."""


class Puller:
    """Pulls notifications of every source that has a queue, and scans those that ask for it."""

    def __init__(self, intake: Intake, *, clock: Callable[[], datetime]) -> None:
        self.intake = intake
        self.clock = clock
        self.wait = WAIT
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts one thread for each queue and each scanned source; returns at once."""
        for name, handler in self.intake.sources.items():
            queue = handler.queue()
            if queue is not None:
                self._thread(f"pulls {name}", self._pull, name, queue)
            every = getattr(handler.settings, "scan_every", None)
            if every:
                self._thread(f"scans {name}", self._scan_often, handler, every.total_seconds())

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
            self.intake.pull(Incoming(name, message.body, now, Road.QUEUE, method="", path=""))
        queue.delete(messages)
        return len(messages)

    def scan_once(
        self, handler: StorageHandler, since: datetime | None = None, *, everything: bool = False
    ) -> Json:
        """Enqueues the objects that no event announced.

        The first scan of a source marks what is there as seen, unless `everything` is asked for:
        pointing Relay at a bucket of old exports must not import them all.
        Returns {"listed", "found", "first"}: counts, and whether this was such a first scan.
        """
        first = not everything and not self.intake.store.scanned(handler.name)
        listed = found = 0
        for batch in _batches(handler.scan(since)):
            listed += len(batch)
            fresh = [event for event in batch if self._unknown(handler.name, event)]
            if fresh:
                found += len(fresh)
                self._accept(handler.name, fresh, first=first)
        if first:
            self.intake.seen(self._incoming(handler.name, []))
        return {"listed": listed, "found": found, "first": first}

    def unknown(self, handler: StorageHandler, since: datetime | None = None) -> Iterator[Event]:
        """The objects that no event announced; enqueues nothing."""
        return (one for one in handler.scan(since) if self._unknown(handler.name, one))

    def _unknown(self, source: str, event: Event) -> bool:
        return self.intake.store.find_event(source, event.object) is None

    def _accept(self, source: str, events: list[Event], *, first: bool) -> None:
        incoming = self._incoming(source, events)
        if first:
            self.intake.seen(incoming, events)
        else:
            self.intake.found(incoming, events)

    def _incoming(self, source: str, events: Iterable[Event]) -> Incoming:
        listed = [
            {"bucket": one.object.bucket, "key": one.object.key, "etag": one.object.etag}
            for one in events
        ]
        body = json.dumps({"found": listed}).encode()
        return Incoming(source, body, self.clock(), Road.SCAN, method="", path="")

    def _pull(self, name: str, queue: Queue) -> None:
        try:
            while not self._stopping.is_set():
                self._patiently(name, lambda: self.pull_once(name, queue))
        finally:
            queue.close()

    def _scan_often(self, handler: StorageHandler, every: float) -> None:
        while not self._stopping.is_set():
            self._patiently(handler.name, lambda: self.scan_once(handler))
            self._stopping.wait(every)

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


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    while batch := list(islice(events, BATCH)):
        yield batch
