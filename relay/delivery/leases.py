"""Leases: renews the leases of this process, and gives up deliveries that hang."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from time import monotonic

from relay.config.load import DeliverySettings
from relay.delivery.clock_watch import ClockWatch
from relay.delivery.lease_clock import lease_clock
from relay.delivery.run import ActiveRun
from relay.errors import RelayError
from relay.ledger import LedgerUnavailable
from relay.ledger.queue import DeliveryQueue

log = logging.getLogger(__name__)

NEVER = datetime.min.replace(tzinfo=UTC)
"""The cut-off while no lease may be taken over."""

GRACE_INTERVALS = 3
"""Renewal intervals that other workers get after an outage, before leases are taken over."""

MARGIN = timedelta(seconds=1), timedelta(seconds=10)
"""Shortest and longest time after the end of a lease before another worker takes it over."""

SETTLED_AFTER = 600.0
"""Seconds after the start, or after a clock jump: destinations that were down are probed first."""


class Leases:
    """The active runs of this process and their leases. Used by many threads."""

    def __init__(
        self,
        queue: DeliveryQueue,
        settings: DeliverySettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._queue, self._clock = queue, clock
        self._clock_watch = ClockWatch(queue, clock)
        self._lease, self._stuck_after = settings.lease, settings.stuck_after.total_seconds()
        self.interval = min(self._lease.total_seconds() / 3, 5.0)
        """Seconds between renewals."""
        self._margin = min(max(self._lease / 10, MARGIN[0]), MARGIN[1])
        self._runs: dict[str, ActiveRun] = {}
        self._lock = threading.Lock()
        self._renewed = lease_clock()
        self._grace_until = 0.0
        self._undisturbed_since = monotonic()

    def add(self, run: ActiveRun) -> ActiveRun:
        """Renew the lease of the run from now on."""
        with self._lock:
            self._runs[run.claim.delivery.id] = run
        return run

    def remove(self, run: ActiveRun) -> None:
        """Stop renewing the lease of the run; another run of the same delivery is kept."""
        with self._lock:
            if self._runs.get(run.claim.delivery.id) is run:
                del self._runs[run.claim.delivery.id]

    def running(self) -> list[ActiveRun]:
        """The runs whose leases are renewed."""
        with self._lock:
            return list(self._runs.values())

    def now(self) -> datetime:
        """Return the current time for claiming, once the clock and the leases are checked.

        Handles a clock jump, and renews leases that are close to expiry. Raises LedgerUnavailable
        if the leases need a renewal that is not possible now.
        """
        now = self._clock_watch.check(self._on_clock_jump)
        if lease_clock() - self._renewed > self._lease.total_seconds() / 2:
            self.renew()
        return now

    def cutoff(self, now: datetime) -> datetime:
        """Cut-off for taking over: only leases that expired before this moment may be claimed.

        The margin covers differences between the clocks of the hosts, and what the previous worker
        sent at the end of its lease.
        """
        return NEVER if monotonic() < self._grace_until else now - self._margin

    def are_settled(self) -> bool:
        """Whether this process has run long enough to know which destinations respond."""
        return monotonic() - self._undisturbed_since >= SETTLED_AFTER

    @contextmanager
    def guard_outage(self) -> Iterator[None]:
        """Extend the grace period if the database is unavailable: no worker could renew."""
        try:
            yield
        except LedgerUnavailable:
            self._extend_grace()
            raise

    def renew(self) -> None:
        """Renew all leases, and give up runs that hang. Raises LedgerUnavailable."""
        runs = {run.claim.delivery.id: run for run in self.running() if not self._give_up(run)}
        claims = [run.claim for run in runs.values()]
        sent = lease_clock()
        with self.guard_outage():
            renewed = self._queue.renew(claims, self._lease, self._clock())
        self._renewed = sent
        for delivery_id in renewed:
            runs[delivery_id].renewed(sent + self._lease.total_seconds())
        for delivery_id in runs.keys() - renewed:
            runs[delivery_id].lost = True

    def _on_clock_jump(self) -> None:
        self._undisturbed_since = monotonic()
        self._extend_grace()
        self.renew()

    def _extend_grace(self) -> None:
        """Take over no lease for some intervals, as no worker could renew the leases.

        Leases of workers that have certainly crashed are an exception (`DeliveryQueue.reclaim`).
        """
        self._grace_until = monotonic() + GRACE_INTERVALS * self.interval

    def _give_up(self, run: ActiveRun) -> bool:
        """Give up a run without progress; a thread that resumes no longer writes anything."""
        if monotonic() - run.last_activity <= self._stuck_after:
            return False
        ids = {"delivery": run.claim.delivery.id}
        log.error("delivery hangs", extra={**ids, "seconds": round(self._stuck_after)})
        run.lost = True
        self.remove(run)
        run.release()
        try:
            self._queue.release(run.claim, self._clock(), hung=True)
        except RelayError as error:  # The lease expires instead.
            log.warning("hang not recorded", extra={**ids, "error": str(error)})
        return True
