"""Scanner: lists a source's objects and enqueues those that no event announced."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from relay.errors import PermanentFailure
from relay.intake.intake import Intake
from relay.ledger import NewScan, Scan, ScanStep
from relay.ledger import owners as presence
from relay.model import Event, Incoming, Json, Localized, Origin, Problem
from relay.sources.contract import ScanPage, StorageHandler

log = logging.getLogger(__name__)

BATCH = 100
"""Found objects that one notification of a scan holds."""

LIMIT = 100_000
"""Objects that one run looks at, where the source's settings do not say."""

Watch = Callable[[int, int], None]
"""watch(listed, found): how far a run came."""


class Scanner:
    """Scans in bounded runs: each goes on where the last one was cut off, or its process died.

    One page of a listing is in memory at a time, and asked for in the ledger with one query.
    """

    def __init__(self, intake: Intake, *, clock: Callable[[], datetime]) -> None:
        self.intake = intake
        self.ledger = intake.ledger
        self.clock = clock
        self.stopping = threading.Event()
        self._warned: dict[str, datetime] = {}

    def scan_once(
        self,
        handler: StorageHandler,
        since: datetime | None = None,
        *,
        everything: bool = False,
        watch: Watch = lambda _listed, _found: None,
    ) -> Json:
        """Enqueues the objects that no event announced, as many as one run looks at.

        The first scan of a source marks what is there as seen, unless `everything` is asked for:
        pointing Relay at a bucket of old exports must not import them all.

        Returns {"listed", "found", "first", "resumed", "finished"}: this run's counts; whether it
        was such a first scan, went on with one that was cut off, came to the end of the objects.
        Raises Conflict while another scan of the source is under way, and what listing raises.
        """
        scan = self._begin(handler, since, everything=everything)
        run = _Run(self, handler, scan, watch)
        try:
            run.go()
        except PermanentFailure:
            if scan.resumed and not run.listed:
                # Not every storage knows a place for ever: the next run begins anew.
                self.ledger.scans.advance(scan, ScanStep(0, 0, None), self.clock())
            raise
        finally:
            self.ledger.scans.end(scan, self.clock(), completed=run.finished)
        self._tell(handler, run)
        return {
            "listed": run.listed,
            "found": run.found,
            "first": scan.first,
            "resumed": scan.resumed,
            "finished": run.finished,
        }

    def unknown(self, handler: StorageHandler, since: datetime | None = None) -> Iterator[Event]:
        """The objects that no event announced; enqueues nothing."""
        for page in handler.scan_pages(since):
            yield from self.fresh(handler.name, page.events)

    def fresh(self, source: str, events: Sequence[Event]) -> list[Event]:
        """Those that no event announced."""
        known = self.ledger.intake.known_ids(source, events)
        return [event for event, id_ in zip(events, known, strict=True) if id_ is None]

    def _begin(self, handler: StorageHandler, since: datetime | None, *, everything: bool) -> Scan:
        before = self.ledger.scans.last(handler.name)
        dead = before.owner if before and before.owner and presence.is_dead(before.owner) else None
        new = NewScan(handler.name, presence.current_owner(), since, everything, dead)
        return self.ledger.scans.begin(new, self.clock())

    def hears(self, handler: StorageHandler) -> bool:
        """Whether anything could tell of the source's objects: a source that is only scanned is
        never silent."""
        if not handler.announces or self.intake.is_open(handler.name):
            return handler.announces
        queue = handler.queue()
        if queue is not None:
            queue.close()
        return queue is not None

    def _tell(self, handler: StorageHandler, run: _Run) -> None:
        counts = {"source": handler.name, "listed": run.listed, "found": run.found}
        # Most scans find nothing: a folder is scanned every minute.
        level = logging.INFO if run.found or not run.finished else logging.DEBUG
        log.log(level, "scan ended" if run.finished else "scan paused", extra=counts)
        silent = self.ledger.scans.silences(self.clock()).get(handler.name)
        if silent and self._warned.get(handler.name) != silent:
            self._warned[handler.name] = silent
            told = {"source": handler.name, "since": silent.isoformat()}
            log.warning("source silent", extra={**told, "hint": silence(handler.name).hint.en})


def silence(source: str) -> Problem:
    """What a person is told of a source whose objects change while nobody announces them."""
    return Problem(
        "source.silent",
        Localized(
            "Objects came that nobody announced, and no notification since: scans find them, late",
            "有新对象出现但未收到通知，此后也没有任何通知：只能靠扫描发现，会有延迟",
        ),
        Localized(
            "Check at the storage where it sends its notifications, and whether it may; "
            f"`relay sources setup {source}` shows how it should be.",
            f"请在存储端检查通知的发送地址与权限；正确的配置见 `relay sources setup {source}`。",
        ),
    )


class _Run:
    """One run of a scan, page after page."""

    def __init__(self, scanner: Scanner, handler: StorageHandler, scan: Scan, watch: Watch) -> None:
        self.scanner = scanner
        self.ledger = scanner.ledger
        self.handler = handler
        self.scan = scan
        self.watch = watch
        self.limit = getattr(handler.settings, "scan_limit", LIMIT) or None
        self.listed = self.found = 0
        self.finished = False

    def go(self) -> None:
        pages = self.handler.scan_pages(self.scan.since, self.scan.place, self.limit)
        for page in pages:
            if not self._take(page):
                return
            if page.cursor is not None and self._is_enough():
                return
        self.finished = True

    def _is_enough(self) -> bool:
        is_over = self.limit is not None and self.listed >= self.limit
        return is_over or self.scanner.stopping.is_set()

    def _take(self, page: ScanPage) -> bool:
        fresh = self.scanner.fresh(self.handler.name, page.events)
        found = sum(self._accept(fresh[at : at + BATCH]) for at in range(0, len(fresh), BATCH))
        if found and not self.scan.first and self.scanner.hears(self.handler):
            moments = [one.time for one in fresh if one.time]
            self.ledger.scans.note_unannounced(self.handler.name, moments)
        self.listed += page.listed
        self.found += found
        self.watch(self.listed, self.found)
        step = ScanStep(page.listed, found, page.cursor)
        return self.ledger.scans.advance(self.scan, step, self.scanner.clock())

    def _accept(self, events: Sequence[Event]) -> int:
        """How many of them were new: a notification may have come meanwhile."""
        listed = [
            {"bucket": one.object.bucket, "key": one.object.key, "etag": one.object.etag}
            for one in events
        ]
        body = json.dumps({"found": listed}).encode()
        now = self.scanner.clock()
        incoming = Incoming(self.handler.name, body, now, Origin.SCAN, method="", path="")
        intake = self.scanner.intake
        take = intake.seen if self.scan.first else intake.found
        return take(incoming, events).events
