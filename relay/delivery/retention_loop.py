"""Removes old history: a few minutes after the start and then every hour, page by page."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial

from relay.config.load import RetentionSettings
from relay.errors import RelayError
from relay.ledger import LedgerUnavailable, PruneResult, RetentionPolicy
from relay.ledger.ids import id_of
from relay.ledger.retention import Retention

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
FIRST = timedelta(minutes=3)
"""Wait before the first run, up to twice as long. Short, because some processes live for less than
an hour; random, so that processes started together do not run together."""
AFTER_LOCK = timedelta(minutes=1)
"""Wait after the database was locked or unavailable, up to twice as long."""

PAUSE = 0.05
"""Seconds between two pages, so that other transactions can write."""


class RetentionLoop:
    """Limits the ledger to what [retention] allows."""

    def __init__(
        self,
        settings: RetentionSettings,
        retention: Retention,
        *,
        clock: Callable[[], datetime],
        pause: float = PAUSE,
    ) -> None:
        self.policy = RetentionPolicy(settings.history, settings.deliveries, settings.bodies)
        self.retention = retention
        self.clock = clock
        self._pause = pause
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; return at once."""
        self._thread = threading.Thread(target=self._run, name="relay housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the current page."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def prune(self) -> PruneResult:
        """Remove old history; return the counts. On LedgerUnavailable, a part may be removed."""
        now = self.clock()
        before = self.retention.cutoff(self.policy, now)
        bodies_before = max(before, id_of(now - self.policy.bodies))
        deliveries = self._pages(partial(self.retention.prune_deliveries, before))
        notifications = self._pages(
            partial(self.retention.prune_notifications, before, bodies_before)
        )
        pages = [*deliveries, *notifications]
        self.retention.prune_digests(now - self.policy.history, now)
        return PruneResult(
            None,
            sum(page.deliveries for page in pages),
            sum(page.notifications for page in pages),
            sum(page.bodies for page in pages),
        )

    def _pages(self, prune_page: Callable[[str], PruneResult]) -> Iterator[PruneResult]:
        after: str | None = ""
        while after is not None and not self._stopping.is_set():
            page = prune_page(after)
            yield page
            after = page.after
            self._stopping.wait(self._pause if after else 0)

    def _run(self) -> None:
        wait = _jittered(FIRST)
        while not self._stopping.wait(wait.total_seconds()):
            wait = self.run_once()

    def run_once(self) -> timedelta:
        """Prune and log the result; return the wait until the next run."""
        try:
            removed = self.prune()
        except LedgerUnavailable as error:
            log.warning("history not tidied", extra={"error": str(error)})
            return _jittered(AFTER_LOCK)
        except RelayError as error:
            log.warning("history not tidied", extra={"error": str(error)})
        except Exception:
            log.exception("housekeeping hit a bug")
        else:
            counts = asdict(removed)
            del counts["after"]
            log.info("history tidied", extra=counts)
        return EVERY


def _jittered(wait: timedelta) -> timedelta:
    return wait * random.uniform(1, 2)  # noqa: S311 - no secret
