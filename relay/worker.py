"""Claim, deliver, record, heartbeat, stop: the loop that works the ledger off.

One thread per kind claims, so that slow messages never hold imports up, nor the reverse; seats
bound how many run at once; one thread renews all leases. What a worker that died had claimed is
given back at once when its death is certain, else when its lease ends.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from time import monotonic

from relay import presence, report
from relay.backoff import next_due
from relay.deliver import Deliverer
from relay.errors import RelayError
from relay.metrics import Meters
from relay.model import Claim, Failed, Kind, Outcome, Retry
from relay.settings import Settings
from relay.target import Progress

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between looks for due deliveries when nobody woke the worker."""


class Lost(BaseException):
    """The lease went to another worker while we were at it: stop, nothing may be written.

    A BaseException, so that no plug-in takes it for a failure of its own.
    """


class Bell:
    """Wakes everybody who waits for work. Rung by the intake and by every recorded outcome."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self._count = 0

    def ring(self) -> None:
        with self._rung:
            self._count += 1
            self._rung.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Waits until it was rung since `seen`, or that long; returns what to hand in next time."""
        with self._rung:
            self._rung.wait_for(lambda: self._count != seen, seconds)
            return self._count


class Worker:
    """Works deliveries off, any number of them in any number of processes beside each other."""

    def __init__(
        self,
        settings: Settings,
        deliverer: Deliverer,
        *,
        clock: Callable[[], datetime],
        bell: Bell,
        meters: Meters,
    ) -> None:
        self.settings = settings
        self.store = deliverer.store
        self.clock = clock
        self.bell = bell
        self.meters = meters
        self.owner = presence.me()
        self._deliverer = deliverer
        self._claims: dict[str, Claim] = {}
        self._lost: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def limits(self) -> Mapping[tuple[Kind, str], int]:
        return {
            (Kind.IMPORT, name): target.concurrency
            for name, target in self.settings.targets.items()
        }

    def start(self) -> None:
        """Starts the threads; returns at once."""
        self._beat_once(self.settings.delivery.lease)
        for kind in Kind:
            self._thread(f"claims {kind}", self._work, kind)
        self._thread("heartbeat", self._beat)

    def stop(self, grace: float) -> None:
        """Claims nothing more; running deliveries get `grace` seconds, the rest is released."""
        self._stopping.set()
        self.bell.ring()
        end, seen = monotonic() + grace, 0
        while self._running() and monotonic() < end:
            seen = self.bell.wait(seen, 0.2)
        for claim in self._running():
            self.store.release(claim, self.clock())
            log.warning("delivery released", extra={"delivery": claim.delivery.id})
        self._stopped.set()
        for thread in list(self._threads):
            thread.join(timeout=2)

    def run(self, claim: Claim, watch: Progress = lambda _: None) -> Outcome | None:
        """Delivers one claim and records its outcome; None when the lease was lost meanwhile.

        `watch` is told of the bytes that went out, for a progress bar.
        """
        with self._lock:
            self._claims[claim.delivery.id] = claim
        started = monotonic()
        try:
            outcome = self._deliverer.deliver(claim, self._progress(claim, watch))
            return self._record(claim, outcome, monotonic() - started)
        except Lost:
            log.warning("lease lost", extra={"delivery": claim.delivery.id})
            return None
        finally:
            with self._lock:
                self._claims.pop(claim.delivery.id, None)
                self._lost.discard(claim.delivery.id)
            self.bell.ring()

    def claim(self, kind: Kind, only: str | None = None) -> Claim | None:
        """The next due delivery of a kind (or exactly that one), or None."""
        lease = self.settings.delivery.lease
        return self.store.claim(self.owner, lease, self.limits, self.clock(), kind=kind, only=only)

    def take_over(self) -> None:
        """Gives back what workers of this host claimed that are certainly dead."""
        for owner in self.store.owners():
            if presence.is_dead(owner) and (count := self.store.reclaim(owner, self.clock())):
                log.warning("took over", extra={"owner": owner, "deliveries": count})

    def _work(self, kind: Kind) -> None:
        seats = threading.Semaphore(self.settings.delivery.workers)
        seen = 0
        while not self._stopping.is_set():
            if not seats.acquire(timeout=POLL):
                continue
            claim = self._claim_quietly(kind)
            if claim is None:
                seats.release()
                seen = self.bell.wait(seen, POLL)
            else:
                self._thread(f"{kind} {claim.delivery.id}", self._run_quietly, claim, seats)

    def _claim_quietly(self, kind: Kind) -> Claim | None:
        try:
            return self.claim(kind)
        except RelayError as error:
            log.warning("cannot claim", extra={"kind": kind, "error": str(error)})
            self._stopping.wait(POLL)
        except Exception:
            log.exception("claiming hit a bug", extra={"kind": kind})
            self._stopping.wait(POLL)
        return None

    def _run_quietly(self, claim: Claim, seats: threading.Semaphore) -> None:
        try:
            self.run(claim)
        except Exception:
            # The delivery stays leased; its lease ends and somebody takes it up again.
            log.exception("outcome not recorded", extra={"delivery": claim.delivery.id})
        finally:
            seats.release()
            self._threads.remove(threading.current_thread())

    def _record(self, claim: Claim, outcome: Outcome, seconds: float) -> Outcome | None:
        now = self.clock()
        due = None
        if isinstance(outcome, Retry):
            due = self._due(claim, outcome, now)
            outcome = outcome if due else Failed(outcome.problem, outcome.answer, outcome.result)
        messages = report.messages(self.settings, claim, outcome, now, seconds)
        if not self.store.finish(claim, outcome, now, due=due, messages=messages):
            raise Lost
        self._tell(claim, outcome, seconds, due)
        return outcome

    def _due(self, claim: Claim, outcome: Retry, now: datetime) -> datetime | None:
        rules = self.settings.delivery.backoff
        due = next_due(claim.attempt, now, jitter=random.random(), rules=rules)  # noqa: S311
        if due is None or outcome.after is None:
            return due
        return now + outcome.after

    def _tell(self, claim: Claim, outcome: Outcome, seconds: float, due: datetime | None) -> None:
        delivery = claim.delivery
        self.meters.attempt(delivery.kind, seconds)
        word = type(outcome).__name__.lower()
        ids = {"delivery": delivery.id, "kind": delivery.kind, "attempt": claim.attempt}
        told = {**ids, "destination": delivery.destination, "seconds": round(seconds, 3)}
        if isinstance(outcome, Retry | Failed):
            told["error"] = outcome.problem.code
        if due:
            told["due"] = due.isoformat()
        level = logging.WARNING if isinstance(outcome, Retry | Failed) else logging.INFO
        log.log(level, f"delivery {word}", extra=told)  # noqa: G004 - the word is the event

    def _progress(self, claim: Claim, watch: Progress) -> Progress:
        def progress(sent: int) -> None:
            if claim.delivery.id in self._lost:
                raise Lost
            self.meters.sent(claim.delivery.destination, sent)
            watch(sent)

        return progress

    def _beat(self) -> None:
        lease: timedelta = self.settings.delivery.lease
        while not self._stopped.wait(min(lease.total_seconds() / 3, 5.0)):
            self._beat_once(lease)

    def _running(self) -> list[Claim]:
        with self._lock:
            return list(self._claims.values())

    def _beat_once(self, lease: timedelta) -> None:
        claims = self._running()
        try:
            ours = self.store.renew(claims, lease, self.clock()) if claims else set()
            self._lost |= {one.delivery.id for one in claims} - ours
            self.take_over()
        except RelayError as error:
            log.warning("heartbeat failed", extra={"error": str(error)})
        except Exception:
            log.exception("heartbeat hit a bug")

    def _thread(self, name: str, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, name=f"relay {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
