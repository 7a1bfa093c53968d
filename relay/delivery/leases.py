"""Leases: what this process is working on stays its own while it shows signs of life."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from time import monotonic

from relay.config.load import DeliverySettings
from relay.delivery.clock_watch import ClockWatch
from relay.delivery.run import ActiveRun
from relay.errors import RelayError
from relay.ledger import Ledger, LedgerUnavailable

log = logging.getLogger(__name__)

NEVER = datetime.min.replace(tzinfo=UTC)
"""No lease ended until then."""

BEATS = 3
"""Heartbeats that others get to renew their leases, after nobody could for a while."""


class Leases:
    """The runs of this process and their leases. Used by many threads."""

    def __init__(
        self, ledger: Ledger, delivery: DeliverySettings, clock: Callable[[], datetime]
    ) -> None:
        self._ledger, self._clock = ledger, clock
        self._clock_watch = ClockWatch(ledger.queue, clock)
        self._lease, self._longest = delivery.lease, delivery.stuck_after.total_seconds()
        self.beat = min(self._lease.total_seconds() / 3, 5.0)
        """Seconds from one renewal to the next."""
        self._runs: dict[str, ActiveRun] = {}
        self._lock = threading.Lock()
        self._renewed = monotonic()
        self._spared_until = 0.0

    def enter(self, run: ActiveRun) -> ActiveRun:
        """From now on its lease is renewed."""
        with self._lock:
            self._runs[run.claim.delivery.id] = run
        return run

    def leave(self, run: ActiveRun) -> None:
        """Its lease is renewed no more; another run of the delivery keeps its own."""
        with self._lock:
            if self._runs.get(run.claim.delivery.id) is run:
                del self._runs[run.claim.delivery.id]

    def running(self) -> list[ActiveRun]:
        """What is under way."""
        with self._lock:
            return list(self._runs.values())

    def now(self) -> datetime:
        """The time, for a claim: the clock was minded, and our own leases will not seem over.

        Raises StoreUnavailable when they would have to be renewed and cannot be.
        """
        now = self._clock_watch.mind(self._turned)
        if monotonic() - self._renewed > self._lease.total_seconds() / 2:
            self.renew()
        return now

    def over(self, now: datetime) -> datetime:
        """Until when a lease must have ended for its delivery to be taken over now."""
        return NEVER if monotonic() < self._spared_until else now

    @contextmanager
    def minded(self) -> Iterator[None]:
        """Around what asks the ledger: when that is away, nobody can renew leases."""
        try:
            yield
        except LedgerUnavailable:
            self._spare()
            raise

    def renew(self) -> None:
        """Renews all leases, and lets go of what hangs. Raises StoreUnavailable."""
        runs = {run.claim.delivery.id: run for run in self.running() if not self._gave_up(run)}
        claims = [run.claim for run in runs.values()]
        with self.minded():
            ours = self._ledger.queue.renew(claims, self._lease, self._clock())
        self._renewed = monotonic()
        for id_ in runs.keys() - ours:
            runs[id_].lost = True

    def _turned(self) -> None:
        self._spare()
        self.renew()

    def _spare(self) -> None:
        """Leases may be over only since nobody could renew them: for some heartbeats none is taken
        over. A worker that is certainly dead has no part in that: see `Store.reclaim`."""
        self._spared_until = monotonic() + BEATS * self.beat

    def _gave_up(self, run: ActiveRun) -> bool:
        """Lets go of it when it has shown no sign for long: its thread, if it wakes, writes
        nothing."""
        if monotonic() - run.sign <= self._longest:
            return False
        id_ = run.claim.delivery.id
        log.error("delivery hangs", extra={"delivery": id_, "seconds": round(self._longest)})
        run.lost = True
        self.leave(run)
        run.leave()
        try:
            self._ledger.outcomes.release_hung(run.claim, self._clock())
        except RelayError as error:  # its lease ends, then
            log.warning("hang not recorded", extra={"delivery": id_, "error": str(error)})
        return True
