"""Claim, deliver, record, heartbeat, stop: the loop that works the ledger off.

One thread per kind claims, so that slow messages never hold imports up, nor the reverse; seats
bound how many run at once; one thread renews all leases. What a worker that died had claimed is
given back at once when its death is certain, else when its lease ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from math import inf
from time import monotonic
from typing import TypeVar

from relay.channels.messages import destination_messages, digest_body, import_messages
from relay.config.load import Settings
from relay.delivery import limits as lanes
from relay.delivery.deliver import Deliverer
from relay.delivery.leases import Leases
from relay.delivery.metrics import ProcessMetrics
from relay.delivery.run import PUT_OFF, ActiveRun, LeaseLost, due_again, is_poison, parked
from relay.delivery.wake_signal import WakeSignal
from relay.errors import RelayError, TemporaryFailure
from relay.ledger import Recorded
from relay.ledger import owners as presence
from relay.model import Claim, Failed, Kind, NewMessage, Outcome, Retry, Succeeded
from relay.targets.contract import Progress

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
        wake_signal: WakeSignal,
        metrics: ProcessMetrics,
    ) -> None:
        self.settings = settings
        self.ledger = deliverer.ledger
        self.clock = clock
        self.leases = Leases(self.ledger, settings.delivery, clock)
        self.wake_signal = wake_signal
        self.metrics = metrics
        self.owner = presence.current_owner()
        self._deliverer = deliverer
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._end = inf
        self._threads: list[threading.Thread] = []
        self._claiming: list[threading.Thread] = []
        self._limits, self._rates = lanes.limits(settings), lanes.rates(settings)

    def start(self) -> None:
        """Starts the threads; returns at once."""
        self._beat_once()
        self._claiming = [self._thread(f"claims {kind}", self._work, kind) for kind in Kind]
        self._thread("heartbeat", self._beat, self._stopped)
        self._thread("listens", self._listen)

    def ask_to_stop(self, grace: float) -> None:
        """Claims nothing more; what runs has `grace` seconds from now. Returns at once."""
        self._end = min(self._end, monotonic() + grace)
        if not self._stopping.is_set():
            log.info("worker stops", extra={"running": len(self.leases.running())})
        self._stopping.set()
        self.wake_signal.ring()

    def stop(self, grace: float) -> None:
        """Asks to stop, waits for what runs until it has to have ended, and releases the rest."""
        self.ask_to_stop(grace)
        _join(self._claiming)  # else a claim under way would be seen by nobody
        seen = 0
        while self.leases.running() and monotonic() < self._end:
            seen = self.wake_signal.wait(seen, 0.2)
        all(map(self._release, self.leases.running()))  # while the ledger is there
        self._stopped.set()
        _join(self._threads)

    def _release(self, run: ActiveRun) -> bool:
        """Gives it back; its thread sends nothing more. False: it could not be, its lease ends."""
        delivery = run.claim.delivery.id
        with self._quietly("release", delivery=delivery):
            self.ledger.queue.release(run.claim, self.clock())
            run.lost = True
            log.warning("delivery released", extra={"delivery": delivery})
        return run.lost

    def run(self, claim: Claim, watch: Progress = lambda _: None) -> Outcome | None:
        """Delivers one claim and records its outcome; None when the lease was lost meanwhile.

        For a worker that was not started. `watch` is told of the bytes that went out, for a
        progress bar.
        """
        over = threading.Event()
        heart = threading.Thread(target=self._beat, args=[over], daemon=True)
        heart.start()
        try:
            return self._carry_out(self.leases.enter(ActiveRun(claim)), watch)
        finally:
            over.set()
            _join([heart])

    def _carry_out(self, run: ActiveRun, watch: Progress = lambda _: None) -> Outcome | None:
        claim = run.claim
        try:
            return self._record(run, self._outcome(run, watch))
        except LeaseLost as lost:
            log.log(lost.level, lost.event, extra={"delivery": claim.delivery.id})
            return None
        finally:
            self.leases.leave(run)
            run.leave()
            self.wake_signal.ring()

    def claim(self, kind: Kind, only: str | None = None) -> Claim | None:
        """The next due delivery of a kind (or exactly that one), or None."""
        lease, now = self.settings.delivery.lease, self.leases.now()
        over = self.leases.over(now)
        claim = self.ledger.queue.claim(
            self.owner,
            lease,
            self._limits,
            now,
            kind=kind,
            only=only,
            rates=self._rates,
            lease_cutoff=over,
        )
        if claim and self.clock() - now > lease / 2:  # turned just now, or it took very long
            self.ledger.queue.renew([claim], lease, self.clock())
        return claim

    def take_over(self) -> None:
        """Gives back what workers of this host claimed that are certainly dead."""
        for owner in self.ledger.queue.owners():
            if presence.is_dead(owner) and (
                count := self.ledger.queue.reclaim(owner, self.clock())
            ):
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
                seen = self.wake_signal.wait(seen, POLL)
            else:
                # Entered before the next claim, so that its lease is renewed from now on.
                run = self.leases.enter(ActiveRun(claim, seats))
                self._thread(f"{kind} {claim.delivery.id}", self._run_quietly, run)
                if claim.crashes:  # it runs alone, so nothing is claimed beside it
                    while not (run.over.wait(POLL) or self._stopping.is_set()):
                        pass

    def _claim_quietly(self, kind: Kind, *, busy: bool) -> Claim | None:
        """Who found nothing the last time only looks first: everybody wakes for everything."""
        with self._quietly("claim", kind=kind), self.leases.minded():
            now = self.leases.now()
            if busy or self.ledger.queue.is_any_due(kind, now, self.leases.over(now)):
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

    def _run_quietly(self, run: ActiveRun) -> None:
        try:
            self._carry_out(run)
        except Exception:
            # The delivery stays leased; its lease ends and somebody takes it up again.
            log.exception("outcome not recorded", extra={"delivery": run.claim.delivery.id})
        finally:
            self._threads.remove(threading.current_thread())

    def _outcome(self, run: ActiveRun, watch: Progress) -> Outcome:
        if is_poison(run.claim):
            return Failed(parked(run.claim))
        if run.claim.crashes:
            run.alone(self.settings.delivery.workers - 1)
        self._mind_quiet(run)
        return self._deliverer.deliver(run.claim, self._progress(run, watch))

    def _mind_quiet(self, run: ActiveRun) -> None:
        claim = run.claim
        channel = self.settings.channels.get(claim.delivery.destination)
        if claim.delivery.kind is not Kind.MESSAGE or channel is None:
            return
        compose = partial(digest_body, self.settings.public_url)
        ask = partial(self.ledger.batching.decide_post, claim, channel, compose)
        say = self._insist(run, lambda: ask(self.clock()))
        if say != "post":
            raise PUT_OFF[say]

    def _record(self, run: ActiveRun, outcome: Outcome) -> Outcome | None:
        claim, now, seconds = run.claim, self.clock(), monotonic() - run.started
        due = None
        if isinstance(outcome, Retry):
            due = due_again(claim, outcome, now, self.settings.delivery.backoff)
            outcome = outcome if due else outcome.last()

        def turns(word: str) -> list[NewMessage]:
            return destination_messages(self.settings, claim.delivery, word, outcome, now)

        def finish() -> Recorded | None:
            tells = isinstance(outcome, Succeeded) and claim.delivery.channels
            known = self.ledger.history.last_failures(claim.delivery) if tells else {}
            told = import_messages(self.settings, claim, outcome, now, seconds, known)
            return self.ledger.outcomes.finish(
                claim, outcome, now, due=due, messages=told, destination_messages=turns
            )

        recorded = self._insist(run, finish)
        if recorded is None:
            raise LeaseLost
        if recorded.change:
            lane = {"kind": claim.delivery.kind, "destination": claim.delivery.destination}
            log.warning(f"destination {recorded.change}", extra=lane)  # noqa: G004 - the event's name
        self._tell(claim, outcome, seconds, due)
        return outcome

    def _insist(self, run: ActiveRun, ask: Callable[[], T]) -> T:
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
        self.metrics.attempt(delivery.kind, seconds)
        word = outcome.attempt_outcome
        ids = {"delivery": delivery.id, "kind": delivery.kind, "attempt": claim.attempt}
        told = {**ids, "destination": delivery.destination, "seconds": round(seconds, 3)}
        if isinstance(outcome, Retry | Failed):
            told["error"] = outcome.problem.code
        if due:
            told["due"] = due.isoformat()
        level = logging.WARNING if isinstance(outcome, Retry | Failed) else logging.INFO
        log.log(level, f"delivery {word}", extra=told)  # noqa: G004 - the word is the event

    def _progress(self, run: ActiveRun, watch: Progress) -> Progress:
        def progress(sent: int) -> None:
            run.sign = monotonic()
            if run.lost:
                raise LeaseLost
            self.metrics.sent(run.claim.delivery.destination, sent)
            watch(sent)

        return progress

    def _beat(self, over: threading.Event) -> None:
        wait = self.leases.beat
        while not over.wait(wait):
            wait = self.leases.beat if self._beat_once() else POLL

    def _beat_once(self) -> bool:
        with self._quietly("renew leases"):
            self.leases.renew()
            self.take_over()
            return True
        return False

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with self._quietly("listen"):
                self.ledger.listener.listen(
                    self.wake_signal.ring, lambda: not self._stopping.is_set()
                )

    def _thread(self, name: str, work: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, name=f"relay {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


def _join(threads: Iterable[threading.Thread], seconds: float = 2) -> None:
    """Waits that long for all of them together."""
    end = monotonic() + seconds
    for thread in list(threads):
        thread.join(timeout=max(0, end - monotonic()))
