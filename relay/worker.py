"""Claim, deliver, record, heartbeat, stop: the loop that works the ledger off.

One thread per kind claims, so that slow messages never hold imports up, nor the reverse; seats
bound how many run at once; one thread renews all leases. What a worker that died had claimed is
given back at once when its death is certain, else when its lease ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import TypeVar

from relay import lanes, presence, report
from relay.bell import Bell
from relay.clock import ClockWatch
from relay.deliver import Deliverer
from relay.errors import RelayError, TemporaryFailure
from relay.metrics import Meters
from relay.model import Claim, Failed, Kind, NewMessage, Outcome, Retry, Succeeded
from relay.runs import PUT_OFF, Lost, Run, due_again, is_poison, parked
from relay.settings import Settings
from relay.target import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL = 0.5
"""Seconds between looks for due deliveries when nobody woke the worker."""


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
        self._clock_watch = ClockWatch(self.store, clock)
        self._now = partial(self._clock_watch.mind, self._beat_once)
        self.bell = bell
        self.meters = meters
        self.owner = presence.me()
        self._deliverer = deliverer
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._claiming: list[threading.Thread] = []
        self._limits, self._rates = lanes.limits(settings), lanes.rates(settings)

    def start(self) -> None:
        """Starts the threads; returns at once."""
        self._beat_once()
        self._claiming = [self._thread(f"claims {kind}", self._work, kind) for kind in Kind]
        self._thread("heartbeat", self._beat)
        self._thread("listens", self._listen)

    def stop(self, grace: float) -> None:
        """Claims nothing more; running deliveries get `grace` seconds, the rest is released."""
        self._stopping.set()
        self.bell.ring()
        for thread in self._claiming:  # else a claim under way would be seen by nobody
            thread.join(timeout=2)
        end, seen = monotonic() + grace, 0
        while self._running() and monotonic() < end:
            seen = self.bell.wait(seen, 0.2)
        for claim in self._running():
            with self._quietly("release", delivery=claim.delivery.id):
                self.store.release(claim, self.clock())
                log.warning("delivery released", extra={"delivery": claim.delivery.id})
        self._stopped.set()
        for thread in list(self._threads):
            thread.join(timeout=2)

    def run(self, claim: Claim, watch: Progress = lambda _: None) -> Outcome | None:
        """Delivers one claim and records its outcome; None when the lease was lost meanwhile.

        `watch` is told of the bytes that went out, for a progress bar.
        """
        return self._carry_out(self._entered(Run(claim)), watch)

    def _entered(self, run: Run) -> Run:
        with self._lock:
            self._runs[run.claim.delivery.id] = run
        return run

    def _carry_out(self, run: Run, watch: Progress = lambda _: None) -> Outcome | None:
        claim = run.claim
        try:
            return self._record(run, self._outcome(run, watch))
        except Lost as lost:
            log.log(lost.level, lost.event, extra={"delivery": claim.delivery.id})
            return None
        finally:
            with self._lock:
                if self._runs.get(claim.delivery.id) is run:
                    del self._runs[claim.delivery.id]
            run.leave()
            self.bell.ring()

    def claim(self, kind: Kind, only: str | None = None) -> Claim | None:
        """The next due delivery of a kind (or exactly that one), or None."""
        lease, now = self.settings.delivery.lease, self._now()
        claim = self.store.claim(
            self.owner, lease, self._limits, now, kind=kind, only=only, rates=self._rates
        )
        if claim and self.clock() - now > lease / 2:  # turned just now, or it took very long
            self.store.renew([claim], lease, self.clock())
        return claim

    def take_over(self) -> None:
        """Gives back what workers of this host claimed that are certainly dead."""
        for owner in self.store.owners():
            if presence.is_dead(owner) and (count := self.store.reclaim(owner, self.clock())):
                log.warning("took over", extra={"owner": owner, "deliveries": count})

    def _work(self, kind: Kind) -> None:
        seats = threading.Semaphore(self.settings.delivery.workers)
        seen, busy = 0, True
        while not self._stopping.is_set():
            if not seats.acquire(timeout=POLL):
                continue
            claim = self._claim_quietly(kind, busy=busy)
            busy = claim is not None
            if claim is None:
                seats.release()
                seen = self.bell.wait(seen, POLL)
            else:
                # Entered before the next claim, so that its lease is renewed from now on.
                run = self._entered(Run(claim, seats))
                self._thread(f"{kind} {claim.delivery.id}", self._run_quietly, run)
                if claim.crashes:  # it runs alone, so nothing is claimed beside it
                    while not (run.over.wait(POLL) or self._stopping.is_set()):
                        pass

    def _claim_quietly(self, kind: Kind, *, busy: bool) -> Claim | None:
        """Who found nothing the last time only looks first: everybody wakes for everything."""
        with self._quietly("claim", kind=kind):
            if busy or self.store.is_any_due(kind, self._now()):
                return self.claim(kind)
        return None

    @contextmanager
    def _quietly(self, what: str, **ids: object) -> Iterator[None]:
        """Around what a thread does for ever: it goes on, a moment later, whatever went wrong."""
        try:
            yield
        except RelayError as error:
            log.warning(f"cannot {what}", extra={**ids, "error": str(error)})  # noqa: G004
            self._stopping.wait(POLL)
        except Exception:
            log.exception(f"cannot {what}: hit a bug", extra=ids)  # noqa: G004
            self._stopping.wait(POLL)

    def _run_quietly(self, run: Run) -> None:
        try:
            self._carry_out(run)
        except Exception:
            # The delivery stays leased; its lease ends and somebody takes it up again.
            log.exception("outcome not recorded", extra={"delivery": run.claim.delivery.id})
        finally:
            self._threads.remove(threading.current_thread())

    def _outcome(self, run: Run, watch: Progress) -> Outcome:
        if is_poison(run.claim):
            return Failed(parked(run.claim))
        if run.claim.crashes:
            run.alone(self.settings.delivery.workers - 1)
        self._mind_quiet(run)
        return self._deliverer.deliver(run.claim, self._progress(run, watch))

    def _mind_quiet(self, run: Run) -> None:
        claim = run.claim
        channel = self.settings.channels.get(claim.delivery.destination)
        if claim.delivery.kind is not Kind.MESSAGE or channel is None:
            return
        ask = partial(self.store.may_post, claim, channel, self.settings.public_url)
        say = self._insist(run, lambda: ask(self.clock()))
        if say != "post":
            raise PUT_OFF[say]

    def _record(self, run: Run, outcome: Outcome) -> Outcome | None:
        claim, now, seconds = run.claim, self.clock(), monotonic() - run.started
        due = None
        if isinstance(outcome, Retry):
            due = due_again(claim, outcome, now, self.settings.delivery.backoff)
            outcome = outcome if due else outcome.last()
        turned: list[str] = []

        def turns(word: str) -> list[NewMessage]:
            turned[:] = [word]
            return report.turned(self.settings, claim.delivery, word, outcome, now)

        def finish() -> bool:
            tells = isinstance(outcome, Succeeded) and claim.delivery.channels
            known = self.store.failures(claim.delivery) if tells else {}
            told = report.messages(self.settings, claim, outcome, now, seconds, known)
            return self.store.finish(claim, outcome, now, due=due, messages=told, turns=turns)

        if not self._insist(run, finish):
            raise Lost
        for word in turned:
            lane = {"kind": claim.delivery.kind, "destination": claim.delivery.destination}
            log.warning(f"destination {word}", extra=lane)  # noqa: G004 - the event's name
        self._tell(claim, outcome, seconds, due)
        return outcome

    def _insist(self, run: Run, ask: Callable[[], T]) -> T:
        """Waits for a ledger that is away: what has happened is not to be done again for that."""
        while True:
            try:
                return ask()
            except TemporaryFailure:
                log.warning("ledger is away", extra={"delivery": run.claim.delivery.id})
                if run.lost or self._stopped.wait(POLL):
                    raise

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

    def _progress(self, run: Run, watch: Progress) -> Progress:
        def progress(sent: int) -> None:
            run.sign = monotonic()
            if run.lost:
                raise Lost
            self.meters.sent(run.claim.delivery.destination, sent)
            watch(sent)

        return progress

    def _beat(self) -> None:
        lease: timedelta = self.settings.delivery.lease
        while not self._stopped.wait(min(lease.total_seconds() / 3, 5.0)):
            self._beat_once()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with self._quietly("listen"):
                self.store.listen(self.bell.ring, lambda: not self._stopping.is_set())

    def _running(self) -> list[Claim]:
        with self._lock:
            return [run.claim for run in self._runs.values()]

    def _beat_once(self) -> None:
        lease = self.settings.delivery.lease
        with self._lock:
            runs = dict(self._runs)
        with self._quietly("renew leases"):
            self._give_up(runs)
            claims = [run.claim for run in runs.values()]
            ours = self.store.renew(claims, lease, self.clock()) if claims else set()
            for id_ in runs.keys() - ours:
                runs[id_].lost = True
            self.take_over()

    def _give_up(self, runs: dict[str, Run]) -> None:
        """Lets go of what has shown no sign for long: its thread, if it wakes, writes nothing."""
        longest = self.settings.delivery.stuck_after.total_seconds()
        for id_, run in list(runs.items()):
            if monotonic() - run.sign > longest:
                log.error("delivery hangs", extra={"delivery": id_, "seconds": round(longest)})
                runs.pop(id_).lost = True
                with self._lock:
                    self._runs.pop(id_, None)
                run.leave()
                with self._quietly("record that it hung", delivery=id_):  # else its lease ends
                    self.store.hung(run.claim, self.clock())

    def _thread(self, name: str, work: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, name=f"relay {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread
