"""The worker: claims due deliveries, runs them, records outcomes, renews leases, drains on stop.

Each kind has a claim thread, so that slow messages never delay imports, nor the reverse. Each kind
has a number of slots, which limits how many deliveries run at once. Another thread renews all
leases.
Deliveries of a crashed worker are taken over at once if the crash is certain, otherwise when the
lease expires.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from math import inf
from time import monotonic
from typing import TypeVar

from relay.channels.messages import destination_messages, digest_body, import_messages
from relay.config.load import Settings
from relay.delivery.claims import Claims
from relay.delivery.corrections import Corrections
from relay.delivery.deliver import Deliverer
from relay.delivery.leases import Leases
from relay.delivery.metrics import ProcessMetrics
from relay.delivery.missing import report_missing
from relay.delivery.run import (
    ActiveRun,
    LeaseLost,
    NoOutcome,
    confirm_gone,
    end_without_attempt,
    give_up,
    is_time_over,
    next_attempt_at,
    park_problem,
    should_park,
)
from relay.delivery.wake_signal import WakeSignal
from relay.errors import RelayError, TemporaryFailure
from relay.ledger import Configured, FinishResult, Ledger, PostDecision, owners
from relay.model import Claim, Failed, Kind, NewMessage, Outcome, Retry, Skipped
from relay.targets.contract import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL = 0.5
"""Seconds between checks for due deliveries when no wake-up arrives."""

CORRECT_EVERY = 30.0
"""Seconds between checks for failed deliveries whose target should be asked again."""

_NOT_POSTED: Mapping[PostDecision, NoOutcome] = {
    "wait": NoOutcome.MESSAGE_POSTPONED,
    "digest": NoOutcome.MESSAGE_BATCHED,
    "replaced": NoOutcome.MESSAGE_REPLACED,
    "lost": NoOutcome.LEASE_LOST,
}


class Worker:
    """Runs deliveries. Any number of workers, in any number of processes, share a ledger."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        deliverer: Deliverer,
        *,
        clock: Callable[[], datetime],
        wake_signal: WakeSignal,
        metrics: ProcessMetrics,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.clock = clock
        self.leases = Leases(ledger.queue, settings.delivery, clock)
        self.wake_signal = wake_signal
        self.metrics = metrics
        self.owner = owners.current_owner()
        self.claims = Claims(settings, ledger.queue, self.leases, self.owner, clock)
        self._deliverer = deliverer
        self._corrections = Corrections(settings, ledger, deliverer, clock)
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._deadline = inf
        self._threads: list[threading.Thread] = []
        self._claiming: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads; return at once."""
        self._renew_once()
        with self._log_errors("read what was missing"):
            self.ledger.missing.forget_found(Configured.of(self.settings), self.clock())
            report_missing(self.settings, self.ledger, self.clock)
        self._claiming = [self._thread(f"claims {kind}", self._claim_loop, kind) for kind in Kind]
        self._thread("heartbeat", self._renew_loop, self._stopped)
        self._thread("listens", self._listen)
        self._thread("corrects", self._correct_loop)

    def ask_to_stop(self, grace: float) -> None:
        """Stop claiming; running deliveries get `grace` seconds from now. Returns at once."""
        self._deadline = min(self._deadline, monotonic() + grace)
        if not self._stopping.is_set():
            log.info("worker stops", extra={"running": len(self.leases.running())})
        self._stopping.set()
        self.wake_signal.notify()

    def stop(self, grace: float) -> None:
        """Ask to stop, wait for running deliveries until the deadline, and release the rest."""
        self.ask_to_stop(grace)
        _join(self._claiming)  # Otherwise a claim in progress would be missed below.
        seen = 0
        while self.leases.running() and monotonic() < self._deadline:
            seen = self.wake_signal.wait(seen, 0.2)
        # Stops at the first failure: the database is then unavailable for the others too.
        all(map(self._release, self.leases.running()))
        self._stopped.set()
        _join(self._threads)

    def _release(self, run: ActiveRun) -> bool:
        """Give the delivery back and stop the upload; on False, the lease has to expire."""
        delivery = run.claim.delivery.id
        with self._log_errors("release", delivery=delivery):
            self.ledger.queue.release(run.claim, self.clock())
            run.lost = True
            log.warning("delivery released", extra={"delivery": delivery})
        return run.lost

    def run(self, claim: Claim, watch: Progress = lambda _: None) -> Outcome | None:
        """Run a claimed delivery and record the outcome; None if there is no outcome.

        For a worker that was not started. `watch` receives the bytes sent, for a progress bar.
        """
        over = threading.Event()
        heartbeat = threading.Thread(target=self._renew_loop, args=[over], daemon=True)
        heartbeat.start()
        try:
            return self._carry_out(self.leases.add(ActiveRun(claim)), watch)
        finally:
            over.set()
            _join([heartbeat])

    def claim(self, kind: Kind, only: str | None = None) -> Claim | None:
        """Claim the next due delivery of a kind (or the delivery `only`), if any."""
        return self.claims.claim(kind, only)

    def take_over(self) -> None:
        """Take back the claims of workers on this host that have certainly crashed."""
        for owner in self.ledger.queue.owners():
            if owners.is_dead(owner) and (count := self.ledger.queue.reclaim(owner, self.clock())):
                log.warning("took over", extra={"owner": owner, "deliveries": count})

    def _claim_loop(self, kind: Kind) -> None:
        slots = threading.Semaphore(self.settings.delivery.workers)
        seen, busy = 0, True
        while not self._stopping.is_set():
            if not slots.acquire(timeout=POLL):
                continue
            claim = self._try_to_claim(kind, busy=busy)
            busy = claim is not None
            if claim is None:
                slots.release()
                seen = self.wake_signal.wait(seen, POLL)
                continue
            # Added before the next claim, so that the lease is renewed from now on.
            run = self.leases.add(ActiveRun(claim, slots))
            self._thread(f"{kind} {claim.delivery.id}", self._run_in_thread, run)
            if claim.crashes:  # It runs alone, so no other delivery is claimed beside it.
                while not (run.over.wait(POLL) or self._stopping.is_set()):
                    pass

    def _try_to_claim(self, kind: Kind, *, busy: bool) -> Claim | None:
        """Claim a delivery; errors are logged.

        After an empty claim (`busy` is False), do a cheap read-only check first: every wake-up
        wakes all claim threads.
        """
        with self._log_errors("claim", kind=kind), self.leases.guard_outage():
            is_due = busy or self.claims.is_any_due(kind)
            return (self.claim(kind) if is_due else None) or self.claims.look_for_overdue(kind)
        return None

    @contextmanager
    def _log_errors(self, action: str, **ids: object) -> Iterator[None]:
        """Log any error of a background loop and back off briefly, so that the loop goes on."""
        try:
            yield
        except RelayError as error:
            log.warning(f"cannot {action}", extra={**ids, "error": str(error)})  # noqa: G004
            self._stopping.wait(POLL)
        except Exception:
            log.exception(f"cannot {action}: hit a bug", extra=ids)  # noqa: G004
            self._stopping.wait(POLL)

    def _run_in_thread(self, run: ActiveRun) -> None:
        try:
            self._carry_out(run)
        except Exception:
            # The delivery stays leased; another claim follows when the lease has expired.
            log.exception("outcome not recorded", extra={"delivery": run.claim.delivery.id})
        finally:
            self._threads.remove(threading.current_thread())

    def _carry_out(self, run: ActiveRun, watch: Progress = lambda _: None) -> Outcome | None:
        try:
            result = self._deliver(run, watch)
            if not isinstance(result, NoOutcome):
                result = self._record(run, result)
        except LeaseLost:
            result = NoOutcome.LEASE_LOST
        finally:
            self.leases.remove(run)
            run.release()
            self.wake_signal.notify()
        if not isinstance(result, NoOutcome):
            return result
        level = logging.WARNING if result is NoOutcome.LEASE_LOST else logging.INFO
        log.log(level, result.value, extra={"delivery": run.claim.delivery.id})
        return None

    def _deliver(self, run: ActiveRun, watch: Progress) -> Outcome | NoOutcome:
        claim = run.claim
        if ended := end_without_attempt(claim, self.settings.delivery.backoff):
            return ended
        if should_park(claim):
            return Failed(park_problem(claim.crashes, claim.hangs), gave_up="crashes")
        others = self.settings.delivery.workers - 1
        if claim.crashes and not run.acquire_all_slots(others):
            return NoOutcome.LEASE_LOST
        if not_posted := self._respect_quiet_hours(run):
            return not_posted
        if not self._holds_lease(run):
            return NoOutcome.LEASE_LOST
        if self._stopping.is_set():  # during the claim, or while it waited to run alone
            undone = self.claims.undo(claim)
            return NoOutcome.NOT_STARTED if undone else NoOutcome.LEASE_LOST
        return self._deliverer.deliver(claim, self._progress(run, watch), run.lease_left)

    def _holds_lease(self, run: ActiveRun) -> bool:
        """Whether the lease lasts; renews a lease that has ended, such as while suspended."""
        if not run.lease_left():
            self._retry_while_unavailable(run, self.leases.renew)
        return run.lease_left() > 0

    def _respect_quiet_hours(self, run: ActiveRun) -> NoOutcome | None:
        """Decide whether a message is posted now (None), postponed or merged into a digest."""
        claim = run.claim
        channel = self.settings.channels.get(claim.delivery.destination)
        if claim.delivery.kind is not Kind.MESSAGE or channel is None:
            return None
        compose = partial(digest_body, self.settings.public_url)
        decide = partial(self.ledger.batching.decide_post, claim, channel, compose)
        decision = self._retry_while_unavailable(run, lambda: decide(self.clock()))
        return _NOT_POSTED.get(decision)

    def _record(self, run: ActiveRun, outcome: Outcome) -> Outcome | NoOutcome:
        claim, now, seconds = run.claim, self.clock(), monotonic() - run.started
        outcome = confirm_gone(claim, outcome, now, self.settings.delivery.gone_after)
        outcome, due = self._decide(run, outcome, now)

        def on_change(change: str) -> list[NewMessage]:
            return destination_messages(self.settings, claim.delivery, change, outcome, now)

        def finish() -> FinishResult | None:
            messages = import_messages(self.settings, claim, outcome, now, seconds)
            return self.ledger.outcomes.finish(
                claim,
                outcome,
                now,
                due=due,
                messages=messages,
                destination_messages=on_change,
                rate=self.claims.rate(claim),
            )

        recorded = self._retry_while_unavailable(run, finish)
        if recorded is None:
            return NoOutcome.LEASE_LOST
        if recorded != "unchanged":
            destination = {"kind": claim.delivery.kind, "destination": claim.delivery.destination}
            log.warning(f"destination {recorded}", extra=destination)  # noqa: G004 - the event's name
        self.metrics.attempt(claim.delivery.kind, seconds)
        _log_outcome(claim, outcome, seconds, due)
        return outcome

    def _decide(
        self, run: ActiveRun, outcome: Outcome, now: datetime
    ) -> tuple[Outcome, datetime | None]:
        """Return the outcome to record, and when a Retry is due.

        Before a delivery ends without a success, the target is asked what may have been changed.
        """
        claim, rules = run.claim, self.settings.delivery.backoff
        started = now - timedelta(seconds=monotonic() - run.started)
        if isinstance(outcome, Retry):
            if outcome.destination_failing and self._is_down(run):
                outcome = replace(outcome, is_probe=True)
            outcome = give_up(claim, outcome, started, rules) or outcome
        if isinstance(outcome, Skipped | Failed):
            final = outcome
            settle = partial(self._deliverer.settle, claim, final)
            is_over = is_time_over(claim, started, rules)
            outcome = self._retry_while_unavailable(run, lambda: settle(gave_up=is_over))
            if isinstance(outcome, Retry) and isinstance(final, Failed) and final.gave_up:
                outcome = replace(outcome, problem=final.problem, gave_up=final.gave_up)
        if isinstance(outcome, Retry):
            return outcome, next_attempt_at(claim, outcome, now, rules)
        return outcome, None

    def _is_down(self, run: ActiveRun) -> bool:
        delivery = run.claim.delivery
        is_down = partial(self.ledger.destinations.is_down, delivery.kind, delivery.destination)
        return self._retry_while_unavailable(run, is_down)

    def _retry_while_unavailable(self, run: ActiveRun, call: Callable[[], T]) -> T:
        """Retry while the database is unavailable.

        A finished import is not repeated just because the outcome could not be saved.
        """
        while True:
            try:
                return call()
            except TemporaryFailure:
                log.warning("ledger is away", extra={"delivery": run.claim.delivery.id})
                if run.lost or self._stopped.wait(POLL):
                    raise

    def _progress(self, run: ActiveRun, watch: Progress) -> Progress:
        def progress(sent: int) -> None:
            run.last_activity = monotonic()
            if run.lost:
                raise LeaseLost
            self.metrics.sent(run.claim.delivery.destination, sent)
            watch(sent)

        return progress

    def _renew_loop(self, over: threading.Event) -> None:
        wait = self.leases.interval
        while not over.wait(wait):
            wait = self.leases.interval if self._renew_once() else POLL

    def _renew_once(self) -> bool:
        with self._log_errors("renew leases"):
            self.leases.renew()
            self.take_over()
            return True
        return False

    def _correct_loop(self) -> None:
        while not self._stopping.wait(CORRECT_EVERY):
            with self._log_errors("correct outcomes"):
                self._corrections.run()
                report_missing(self.settings, self.ledger, self.clock)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with self._log_errors("listen"):
                self.ledger.listener.listen(
                    self.wake_signal.notify, lambda: not self._stopping.is_set()
                )

    def _thread(self, name: str, work: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=args, name=f"relay {name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread


def _log_outcome(claim: Claim, outcome: Outcome, seconds: float, due: datetime | None) -> None:
    delivery = claim.delivery
    fields = {
        "delivery": delivery.id,
        "kind": delivery.kind,
        "attempt": claim.attempt,
        "destination": delivery.destination,
        "seconds": round(seconds, 3),
    }
    level = logging.INFO
    if isinstance(outcome, Retry | Failed):
        level = logging.WARNING
        fields["error"] = outcome.problem.code
    if due:
        fields["due"] = due.isoformat()
    log.log(level, f"delivery {outcome.attempt_outcome}", extra=fields)  # noqa: G004 - event's name


def _join(threads: Iterable[threading.Thread], seconds: float = 2) -> None:
    """Wait for all threads, no longer than `seconds` in total."""
    deadline = monotonic() + seconds
    for thread in list(threads):
        thread.join(timeout=max(0, deadline - monotonic()))
