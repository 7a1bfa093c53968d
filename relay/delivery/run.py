"""Runs: deliveries under way in this process, and what is told of those that end it."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from time import monotonic

from relay.config.backoff import Backoff, next_due
from relay.ledger import PostDecision
from relay.model import Claim, Localized, Problem, Retry

CRASHES = 3
"""Deaths of its worker, and hangs, in a row after which a delivery is not tried again by itself."""

CRASHES_OF_THE_UNLUCKY = 12
"""The same where something kills workers whatever they do: it may be none of its doing."""

NOT_HERE = timedelta(minutes=1)
"""Until a delivery is looked at again whose plug-in is not in this configuration."""


class LeaseLost(BaseException):
    """The lease went to another worker while we were at it: stop, nothing may be written.

    A BaseException, so that no plug-in takes it for a failure of its own.
    """

    level, event = logging.WARNING, "lease lost"


class FunctionBusy(LeaseLost):
    """Another delivery of its function is under way: it is claimed when that one has ended."""

    level, event = logging.INFO, "delivery waits for its function"


class MessagePostponed(LeaseLost):
    """Its channel has quiet hours, or was told much lately: the ledger has recorded it."""

    level, event = logging.INFO, "message waits"


class MessageBatched(MessagePostponed):
    """It is told in a digest with what waited beside it: a message of its own, which is due."""

    level, event = logging.INFO, "message is in a digest"


PUT_OFF: Mapping[PostDecision, type[LeaseLost]] = {
    "wait": MessagePostponed,
    "digest": MessageBatched,
    "lost": LeaseLost,
}


class ActiveRun:
    """One delivery under way, and its seat. `over`: it has left, though its thread may hang."""

    def __init__(self, claim: Claim, seats: threading.Semaphore | None = None) -> None:
        self.claim = claim
        self.started = self.sign = monotonic()
        self.lost = False
        self.over = threading.Event()
        self._seats = seats
        self._held = 1
        self._lock = threading.Lock()

    def alone(self, others: int) -> None:
        """Takes the `others` seats of its kind too, as they get free: should its worker die again,
        it is this delivery's doing, and none that ran beside it is blamed. Raises Lost."""
        seats = self._seats
        while seats is not None and self._held <= others:
            if seats.acquire(timeout=1):
                self._hold(seats)
            if self.lost:
                raise LeaseLost
            self.sign = monotonic()  # to wait is not to hang

    def leave(self) -> None:
        """Gives the seats to the next ones; once, whoever asks first."""
        with self._lock:
            seats, self._seats = self._seats, None
        if seats is not None:
            seats.release(self._held)
        self.over.set()

    def _hold(self, seats: threading.Semaphore) -> None:
        with self._lock:
            if self._seats is not None:
                self._held += 1
                return
        seats.release()  # it was given up meanwhile


def due_again(claim: Claim, outcome: Retry, now: datetime, rules: Backoff) -> datetime | None:
    """When a delivery is tried again; None: it was the last time."""
    if not outcome.counts:
        return now + (outcome.after or NOT_HERE)
    due = next_due(claim.attempt, now, jitter=random.random(), rules=rules)  # noqa: S311
    return due if due is None or outcome.after is None else now + outcome.after


def is_poison(claim: Claim) -> bool:
    """Whether a delivery is to be left alone, for its workers died of it, or it hangs."""
    if claim.hangs >= CRASHES:
        return True
    most = CRASHES_OF_THE_UNLUCKY if claim.unlucky else CRASHES
    return claim.crashes + claim.hangs >= most


def parked(claim: Claim) -> Problem:
    """Why a poisonous delivery is left alone."""
    return hung(claim.hangs, claim.crashes) if claim.hangs else crashed(claim.crashes)


def hung(times: int, deaths: int) -> Problem:
    en, zh = f"It hung {times} times in a row", f"该投递连续挂起 {times} 次"
    if deaths:
        en = f"{times + deaths} times in a row it hung or its worker died"
        zh = f"该投递连续 {times + deaths} 次挂起或工作进程异常退出"
    return Problem(
        "delivery.hangs",
        Localized(f"{en}: it showed no sign for long", f"{zh}：长时间没有任何进展"),
        Localized(
            "Find out what it waits for (a plug-in without a timeout?), or raise "
            "delivery.stuck_after if it is only slow, then retrigger.",
            "请查明它在等待什么（例如插件未设超时）；如果只是较慢，请调大 delivery.stuck_after，"
            "然后重新触发。",
        ),
    )


def crashed(times: int) -> Problem:
    return Problem(
        "delivery.crashes",
        Localized(
            f"The worker died {times} times in a row while it was at this delivery",
            f"处理该投递时工作进程连续 {times} 次异常退出",
        ),
        Localized(
            "Look at the process's end in its logs (memory limit, crash of a plug-in), then "
            "retrigger.",
            "请查看进程日志中的退出原因（内存限制、插件崩溃等），然后重新触发。",
        ),
    )
