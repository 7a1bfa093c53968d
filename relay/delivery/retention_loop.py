"""Housekeeping: old history goes, minutes after the start and every hour, a page at a time."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from relay.config.load import Settings
from relay.errors import RelayError
from relay.ledger import Ledger, LedgerUnavailable, PruneResult, RetentionPolicy
from relay.ledger.ids import id_of

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
FIRST = timedelta(minutes=3)
"""When it begins, or up to twice as late: a process that lives for less than an hour tidies too,
and those that were started together do not all begin at once."""
AGAIN = timedelta(minutes=1)
"""When it goes on after others held the database, or up to twice as late."""

PAUSE = 0.05
"""Seconds between two pages: whoever wants to write meanwhile can."""


class RetentionLoop:
    """Keeps the ledger bounded by what [retention] says."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime],
        pause: float = PAUSE,
    ) -> None:
        rules = settings.retention
        self.kept = RetentionPolicy(rules.history, rules.deliveries, rules.bodies)
        self.ledger = ledger
        self.clock = clock
        self._pause = pause
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts its thread; returns at once."""
        self._thread = threading.Thread(target=self._run, name="relay housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the page that it is at."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def tidy(self) -> PruneResult:
        """Takes away all that is old; what went. StoreUnavailable: some may have gone."""
        now = self.clock()
        before = self.ledger.retention.cutoff(self.kept, now)
        bodies = max(before, id_of(now - self.kept.bodies))
        deliveries = self._pages(
            lambda after: self.ledger.retention.prune_deliveries(before, after)
        )
        came = self._pages(
            lambda after: self.ledger.retention.prune_notifications(before, bodies, after)
        )
        self.ledger.retention.prune_digests(now - self.kept.history, now)
        return PruneResult(None, deliveries.deliveries, came.notifications, came.bodies)

    def _pages(self, prune: Callable[[str], PruneResult]) -> PruneResult:
        after: str | None = ""
        gone = PruneResult(None)
        while after is not None and not self._stopping.is_set():
            page = prune(after)
            after = page.after
            gone = PruneResult(
                None,
                gone.deliveries + page.deliveries,
                gone.notifications + page.notifications,
                gone.bodies + page.bodies,
            )
            self._stopping.wait(self._pause if after else 0)
        return gone

    def _run(self) -> None:
        wait = _jittered(FIRST)
        while not self._stopping.wait(wait.total_seconds()):
            wait = self.turn()

    def turn(self) -> timedelta:
        """Tidies; how long to wait until the next time."""
        try:
            gone = self.tidy()
        except LedgerUnavailable as error:
            log.warning("history not tidied", extra={"error": str(error)})
            return _jittered(AGAIN)
        except RelayError as error:
            log.warning("history not tidied", extra={"error": str(error)})
        except Exception:
            log.exception("housekeeping hit a bug")
        else:
            log.info("history tidied", extra=_figures(gone))
        return EVERY


def _jittered(wait: timedelta) -> timedelta:
    return wait * random.uniform(1, 2)  # noqa: S311 - no secret


def _figures(gone: PruneResult) -> dict[str, int]:
    return {
        "deliveries": gone.deliveries,
        "notifications": gone.notifications,
        "bodies": gone.bodies,
    }
