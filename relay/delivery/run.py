"""A delivery under way in this process, and the rules for when it is tried again."""

from __future__ import annotations

import random
import threading
from datetime import datetime, timedelta
from enum import Enum
from time import monotonic

from relay.config.backoff import Backoff, delay
from relay.config.units import duration_words
from relay.delivery.final_hint import final_problem
from relay.delivery.lease_clock import lease_clock
from relay.errors import Gone
from relay.model import Claim, Failed, Localized, Outcome, Problem, Retry, Skipped

MAX_CRASHES = 3
"""Worker crashes and hangs in a row after which a delivery is no longer retried automatically."""

MAX_CRASHES_ELSEWHERE = 12
"""Higher limit when workers are crashing for unrelated reasons."""

SECOND_LOOK = timedelta(seconds=30)
"""Wait before a missing object is looked for again; the last look is after delivery.gone_after."""

MISSING_PLUGIN_RETRY = timedelta(minutes=1)
"""Wait before a delivery is retried whose plug-in is missing in this configuration."""

LATE = timedelta(hours=1)
"""An attempt later than this does not end a delivery: Relay was not running."""

_NEVER_TRIED = Localized(
    "it was never tried, because the destination was down or asked to wait",
    "目标不可用或要求等待，一直未能尝试",
)


class NoOutcome(Enum):
    """Why a run ends without an outcome. The ledger already holds the delivery's new state."""

    LEASE_LOST = "lease lost"
    FUNCTION_BUSY = "delivery waits for its function"
    """Another import of the function runs; the delivery becomes due when that import has ended."""
    NOT_STARTED = "delivery was not started"
    """The worker was asked to stop; the delivery is due as before."""
    MESSAGE_POSTPONED = "message waits"
    """The channel has quiet hours or has received too many messages."""
    MESSAGE_BATCHED = "message is in a digest"
    """The message became part of a digest, which is a separate message."""
    MESSAGE_REPLACED = "message was replaced by a newer one"


class LeaseLost(BaseException):
    """The lease went to another worker: the upload stops, and nothing may be written.

    Raised by the progress callback inside plug-ins. A BaseException, so that no plug-in
    handles it like other errors.
    """


class ActiveRun:
    """A delivery under way and the worker slots that it occupies.

    `last_activity` is the monotonic time of the last sign of progress. `lost`: the lease is gone.
    `over` is set when the slots are released, even if the thread still hangs.
    """

    def __init__(self, claim: Claim, slots: threading.Semaphore | None = None) -> None:
        self.claim = claim
        self.started = self.last_activity = monotonic()
        self.lost = False
        self._lease_end = claim.lease_end
        self.over = threading.Event()
        self._slots = slots
        self._acquired = 1
        self._lock = threading.Lock()

    def lease_left(self) -> float:
        """Return the seconds until the lease ends; 0 if it ended or was lost.

        The lease counts from before the claim or the renewal was sent, so that it ends here before
        another worker may take it over. Without time left, nothing may be started.
        """
        return 0.0 if self.lost else max(0.0, self._lease_end - lease_clock())

    def renewed(self, lease_end: float) -> None:
        """Record a renewal: the lease now ends at this time of the lease clock."""
        self._lease_end = max(self._lease_end, lease_end)

    def acquire_all_slots(self, others: int) -> bool:
        """Run alone: occupy the `others` slots of the kind as they become free.

        If the worker crashes again, only this delivery is to blame. Returns False if the lease
        was lost meanwhile.
        """
        slots = self._slots
        while slots is not None and self._acquired <= others:
            if slots.acquire(timeout=1):
                self._keep(slots)
            if self.lost:
                return False
            self.last_activity = monotonic()  # Waiting for a slot is not hanging.
        return True

    def release(self) -> None:
        """Release the slots; do nothing the second time."""
        with self._lock:
            slots, self._slots = self._slots, None
        if slots is not None:
            slots.release(self._acquired)
        self.over.set()

    def _keep(self, slots: threading.Semaphore) -> None:
        with self._lock:
            if self._slots is not None:
                self._acquired += 1
                return
        slots.release()  # The run was released meanwhile.


def next_attempt_at(claim: Claim, outcome: Retry, now: datetime, rules: Backoff) -> datetime:
    """When a delivery is retried: not before the backoff allows, nor before what was asked.

    Without a request to wait, the last attempt is made when the delivery's time ends.
    """
    if not outcome.counts_as_attempt:
        return now + (outcome.retry_after or MISSING_PLUGIN_RETRY)
    number = claim.attempt + claim.delivery.waits
    due = now + delay(number, jitter=random.random(), rules=rules)  # noqa: S311
    if outcome.asked_to_wait:
        return max(due, now + (outcome.retry_after or timedelta(0)))
    ends = claim.delivery.tried_since + rules.give_up_after
    return min(due, ends) if ends > now else due


def give_up(claim: Claim, outcome: Retry, started: datetime, rules: Backoff) -> Failed | None:
    """Return the failure to record instead of another try; None: the delivery is tried again.

    Requests to wait are limited by time only, all other failures by number too. `started`: when the
    attempt began.
    """
    if not outcome.counts_as_attempt:
        return None
    if is_time_over(claim, started, rules):
        return outcome.last(gave_up_problem(outcome.problem, rules), "time")
    if claim.attempt >= rules.attempts and not outcome.asked_to_wait:
        return outcome.last(final_problem(outcome.problem))
    return None


def is_time_over(claim: Claim, started: datetime, rules: Backoff) -> bool:
    """Whether the attempt that began then may end the delivery, because its time is over.

    An attempt that began long after it was due does not: no worker was running in that time.
    """
    delivery = claim.delivery
    is_late = delivery.due is not None and started - delivery.due > LATE
    is_over = started - delivery.tried_since >= rules.give_up_after
    return claim.is_overdue or (is_over and not is_late)


def end_without_attempt(claim: Claim, rules: Backoff) -> Failed | None:
    """Return the failure of a delivery that Relay gave up before; None: it is to be tried.

    Either the target could not be asked at that time what was changed, or the time of the delivery
    ended while it had to wait.
    """
    delivery = claim.delivery
    if delivery.gave_up and delivery.error:
        return Failed(delivery.error, gave_up=delivery.gave_up)
    if claim.is_overdue:
        return Failed(gave_up_problem(delivery.error, rules), gave_up="time")
    return None


def gave_up_problem(last: Problem | None, rules: Backoff) -> Problem:
    """Say that Relay gave up; `last`: the last error, if there was an attempt."""
    span = duration_words(rules.give_up_after)
    en, zh = last.message if last else _NEVER_TRIED
    if last:
        en, zh = f"{en} ({last.code})", f"{zh}（{last.code}）"
    return Problem(
        "delivery.gave_up",
        Localized(
            f"Relay gave up after {span}. The last error: {en}",
            f"Relay 尝试 {span} 后放弃。最后的错误：{zh}",
        ),
        Localized(
            "Fix the cause, then retrigger. delivery.give_up_after is how long Relay tries.",
            "请排除原因后重新触发。Relay 尝试多久由 delivery.give_up_after 决定。",
        ),
    )


def confirm_gone(claim: Claim, outcome: Outcome, now: datetime, gone_after: timedelta) -> Outcome:
    """Return a retry instead of the outcome "gone" until the object has been missing for so long.

    Until then, no message is posted, and the attempts are not counted.
    """
    if not (isinstance(outcome, Skipped) and outcome.reason == Gone.reason):
        return outcome
    since = claim.delivery.missing_since
    wait = (since or now) + gone_after - now
    if wait <= timedelta(0):
        return outcome
    problem = Problem(
        "object.missing",
        Localized("The object is missing in the storage", "存储中没有该对象"),
        Localized(
            "Relay looks again; after delivery.gone_after the delivery ends as gone.",
            "Relay 会再次查找；超过 delivery.gone_after 后该投递以 gone 结束。",
        ),
    )
    return Retry(
        problem,
        min(wait, gone_after if since else SECOND_LOOK),
        result=outcome.result,
        counts_as_attempt=False,
        missing_since=since or now,
    )


def should_park(claim: Claim) -> bool:
    """Whether the delivery is no longer retried, because it hangs or crashes workers."""
    if claim.hangs >= MAX_CRASHES:
        return True
    limit = MAX_CRASHES_ELSEWHERE if claim.crashed_elsewhere else MAX_CRASHES
    return claim.crashes + claim.hangs >= limit


def park_problem(crashes: int, hangs: int = 0) -> Problem:
    """Why a delivery is no longer retried, after that many crashes and hangs in a row."""
    if not hangs:
        return Problem(
            "delivery.crashes",
            Localized(
                f"The worker crashed {crashes} times in a row while it ran this delivery",
                f"处理该投递时工作进程连续 {crashes} 次异常退出",
            ),
            Localized(
                "Look for the end of the process in the logs (memory limit, crash of a plug-in), "
                "then retrigger.",
                "请查看进程日志中的退出原因（内存限制、插件崩溃等），然后重新触发。",
            ),
        )
    en, zh = f"The delivery hung {hangs} times in a row", f"该投递连续挂起 {hangs} 次"
    if crashes:
        en = f"The delivery hung or crashed its worker {hangs + crashes} times in a row"
        zh = f"该投递连续 {hangs + crashes} 次挂起或工作进程异常退出"
    return Problem(
        "delivery.hangs",
        Localized(f"{en}: no progress for a long time", f"{zh}：长时间没有任何进展"),
        Localized(
            "Find out what it waits for (a plug-in without a timeout?), or raise "
            "delivery.stuck_after if it is only slow, then retrigger.",
            "请查明它在等待什么（例如插件未设超时）；如果只是较慢，请调大 delivery.stuck_after，"
            "然后重新触发。",
        ),
    )
