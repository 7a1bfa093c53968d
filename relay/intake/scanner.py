"""Lists the objects of a source and accepts those that no event has announced."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from relay.errors import PermanentFailure
from relay.intake.intake import Intake, Receipt
from relay.ledger import NewScan, Scan, ScanStep, owners
from relay.ledger.scans import Scans
from relay.model import Event, Incoming, Json, Localized, Origin, Problem
from relay.sources.contract import ScanPage, StorageHandler

log = logging.getLogger(__name__)

BATCH = 100
"""Objects per notification of a scan."""

DEFAULT_LIMIT = 100_000
"""Objects that a run lists, unless the source's settings set `scan_limit`."""

Accept = Callable[[Incoming, Sequence[Event]], Receipt]

ScanProgress = Callable[[int, int], None]
"""Called after each page with the objects listed and found so far in the run."""


class Scanner:
    """Scans in bounded runs; a run resumes where the last run was interrupted.

    Memory holds a single page of a listing. Each page needs two queries for known events.
    """

    def __init__(self, intake: Intake, scans: Scans, *, clock: Callable[[], datetime]) -> None:
        self.intake = intake
        self.scans = scans
        self.clock = clock
        self.stopping = threading.Event()
        self._warned: dict[str, datetime] = {}

    def scan_once(
        self,
        handler: StorageHandler,
        since: datetime | None = None,
        *,
        everything: bool = False,
        progress: ScanProgress = lambda _listed, _found: None,
    ) -> Json:
        """Accept the unannounced objects that a run lists.

        The first scan of a source only marks the objects as seen, unless `everything` is set: a
        bucket of old exports must not be imported as a whole. So does the first scan of a bucket
        that was added to a source.

        Deliveries that ended as gone run again if the object is listed.

        Returns {"listed", "found", "marked", "revived", "first", "resumed", "finished"}: the counts
        of this run (objects listed, unannounced, and only marked; deliveries revived), whether it
        belongs to a first scan, resumed an interrupted scan, and reached the end of the listing.
        Raises Conflict while another scan of the source runs, and the errors of listing.
        """
        last = self.scans.last(handler.name)
        dead = last.owner if last and last.owner and owners.is_dead(last.owner) else None
        buckets = handler.settings.buckets
        new = NewScan(handler.name, owners.current_owner(), since, everything, dead, buckets)
        scan = self.scans.begin(new, self.clock())
        run = _ScanRun(self, handler, scan, progress)
        try:
            run.list_pages()
        except PermanentFailure:
            if scan.resumed and not run.listed:
                # Some storages forget a cursor after a while: the next run starts over.
                self.scans.advance(scan, ScanStep(0, 0, None), self.clock())
            raise
        finally:
            self.scans.end(scan, self.clock(), completed=run.finished)
        self._log_run(handler, run)
        return {
            "listed": run.listed,
            "found": run.found,
            "marked": run.marked,
            "revived": run.revived,
            "first": scan.first,
            "resumed": scan.resumed,
            "finished": run.finished,
        }

    def list_unannounced(
        self, handler: StorageHandler, since: datetime | None = None
    ) -> Iterator[Event]:
        """The objects that a scan would enqueue; stores nothing."""
        for page in handler.scan_pages(since):
            listed = self.intake.compare_listed(handler.name, page.events)
            yield from (*listed.unannounced, *listed.ended.values())

    def has_push_source(self, handler: StorageHandler) -> bool:
        """Whether notifications can arrive: a source that is only scanned is never silent."""
        if not handler.announces:
            return False
        if self.intake.is_open(handler.name):
            return True
        queue = handler.queue()
        if queue is not None:
            queue.close()
        return queue is not None

    def _log_run(self, handler: StorageHandler, run: _ScanRun) -> None:
        counts = {name: getattr(run, name) for name in ("listed", "found", "marked", "revived")}
        counts["source"] = handler.name
        # Most scans find nothing: a folder is scanned every minute.
        has_news = run.found or run.revived or not run.finished
        level = logging.INFO if has_news else logging.DEBUG
        log.log(level, "scan ended" if run.finished else "scan paused", extra=counts)
        silent = self.scans.silences(self.clock()).get(handler.name)
        if silent and self._warned.get(handler.name) != silent:
            self._warned[handler.name] = silent
            hint = silence_problem(handler.name).hint.en
            fields = {"source": handler.name, "since": silent.isoformat(), "hint": hint}
            log.warning("source silent", extra=fields)


def silence_problem(source: str) -> Problem:
    """The problem of a source that receives objects but sends no notifications."""
    return Problem(
        "source.silent",
        Localized(
            "New objects arrive without notifications: only scans find them, with a delay",
            "有新对象出现但未收到任何通知：只能靠扫描发现，会有延迟",
        ),
        Localized(
            "Check in the storage where it sends notifications, and whether it is allowed to; "
            f"`relay sources setup {source}` shows the right configuration.",
            f"请在存储端检查通知的发送地址与权限；正确的配置见 `relay sources setup {source}`。",
        ),
    )


class _ScanRun:
    def __init__(
        self, scanner: Scanner, handler: StorageHandler, scan: Scan, progress: ScanProgress
    ) -> None:
        self.scanner = scanner
        self.intake = scanner.intake
        self.scans = scanner.scans
        self.handler = handler
        self.scan = scan
        self.progress = progress
        self.limit = getattr(handler.settings, "scan_limit", DEFAULT_LIMIT) or None
        self.listed = self.found = self.marked = self.revived = 0
        self.finished = False

    def list_pages(self) -> None:
        """List pages until the end, the limit, a stop, or the loss of the scan."""
        for page in self.handler.scan_pages(self.scan.since, self.scan.cursor, self.limit):
            if not self._accept_page(page):
                return
            reached_limit = self.limit is not None and self.listed >= self.limit
            if page.cursor is not None and (reached_limit or self.scanner.stopping.is_set()):
                return
        self.finished = True

    def _accept_page(self, page: ScanPage) -> bool:
        listed = self.intake.compare_listed(self.handler.name, page.events)
        is_marked, unannounced = self.scan.marks, listed.unannounced
        marked = [event for event in unannounced if is_marked(event.object.bucket)]
        events = [event for event in unannounced if not is_marked(event.object.bucket)]
        self.revived += self.intake.revive(listed)
        newly_marked = self._accept(marked, self.intake.mark_seen)
        enqueued = self._accept(events, self.intake.accept_found)
        if enqueued and self.scanner.has_push_source(self.handler):
            times = [event.time for event in events if event.time]
            self.scans.note_unannounced(self.handler.name, times)
        self.listed += page.listed
        self.found += enqueued + newly_marked
        self.marked += newly_marked
        self.progress(self.listed, self.found)
        step = ScanStep(page.listed, enqueued + newly_marked, page.cursor)
        return self.scans.advance(self.scan, step, self.scanner.clock())

    def _accept(self, events: Sequence[Event], accept: Accept) -> int:
        """Accept events; returns how many were new: a notification may have arrived meanwhile."""
        batches = (events[at : at + BATCH] for at in range(0, len(events), BATCH))
        return sum(accept(self._notification(batch), batch).events for batch in batches)

    def _notification(self, events: Sequence[Event]) -> Incoming:
        objects = [event.object for event in events]
        listed = [{"bucket": ref.bucket, "key": ref.key, "etag": ref.etag} for ref in objects]
        body = json.dumps({"found": listed}).encode()
        now = self.scanner.clock()
        return Incoming(self.handler.name, body, now, Origin.SCAN, method="", path="")
