"""How `relay import` waits: retries of a file's import, and texts that say why a delivery waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from relay.cli.output import format_duration, format_time
from relay.config.backoff import Backoff, next_due
from relay.errors import TemporaryFailure
from relay.model import Delivery, Json, Localized, Skipped, State, Succeeded, utc_now

RULES = Backoff(attempts=5, first=timedelta(seconds=2), longest=timedelta(seconds=30))
"""Waits of about 2 s, 8 s, 30 s and 30 s: short enough for a person at a terminal."""

LONGEST_WAIT = timedelta(minutes=2)
"""Give up if the target asks for a longer wait: Retry-After must be honoured."""

ImportCall = Callable[[], Succeeded | Skipped]


@dataclass(frozen=True, slots=True)
class ForegroundRetry:
    """Repeats an import after temporary failures. Tests replace `clock` and `sleep`."""

    say: Callable[[str], None]
    clock: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    rules: Backoff = RULES

    def run(self, import_once: ImportCall) -> Succeeded | Skipped:
        """Call `import_once` until it succeeds, fails permanently or the attempts are used up.

        Raises the last TemporaryFailure with a hint for the command line: the import of a file is
        not recorded, so no worker retries it.
        """
        attempt = 1
        while True:
            try:
                return import_once()
            except TemporaryFailure as failure:
                wait = self._next_wait(attempt, failure)
                if wait is None:
                    raise _with_final_hint(failure, attempt) from failure
                self._announce(attempt, failure, wait)
            self.sleep(wait.total_seconds())
            attempt += 1

    def _next_wait(self, attempt: int, failure: TemporaryFailure) -> timedelta | None:
        now = self.clock()
        due = next_due(attempt, now, jitter=random.random(), rules=self.rules)  # noqa: S311
        if due is None:
            return None
        wait = max(due - now, failure.retry_after or timedelta(0))
        return None if wait > LONGEST_WAIT else wait

    def _announce(self, attempt: int, failure: TemporaryFailure, wait: timedelta) -> None:
        problem = f"Attempt {attempt} failed: {failure.message.en} ({failure.code})."
        pause = format_duration(wait.total_seconds())
        self.say(f"{problem} {failure.hint.en}".rstrip())
        self.say(f"Attempt {attempt + 1} of {self.rules.attempts} in {pause}.")


def _with_final_hint(failure: TemporaryFailure, attempts: int) -> TemporaryFailure:
    when_en, when_zh = "later", "稍后"
    if failure.retry_after:
        seconds = round(failure.retry_after.total_seconds())
        when_en = f"in {format_duration(seconds)}, as the target requests"
        when_zh = f"按目标要求在 {seconds} 秒后"
    tried = "once" if attempts == 1 else f"{attempts} times"
    hint = Localized(
        f"Tried {tried}. Run the command again {when_en}: "
        "it first checks what the target already has.",
        f"已尝试 {attempts} 次。请{when_zh}重新运行该命令：它会先查询目标的现状。",
    )
    return TemporaryFailure(failure.code, failure.message, hint, answer=failure.answer)


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Why a delivery waits.

    `key` changes when the reason changes. `is_blocked`: it needs an action elsewhere, so waiting in
    the foreground does not help.
    """

    key: tuple[str, datetime | None]
    text: str
    is_blocked: bool = False


def wait_reason(
    delivery: Delivery, target: Json | None, now: datetime, *, has_failed: bool = False
) -> WaitReason:
    """Return why an unfinished delivery is not claimed. `target`: see target_states().

    `has_failed`: an attempt has just failed, so it is the reason even if the next is due already.
    """
    if delivery.state == State.RUNNING:
        text = f"Delivery {delivery.id}: another process is importing it."
        return WaitReason(("running", None), text)
    if target and target["state"] in ("paused", "down"):
        return _blocked(delivery, target, now)
    if delivery.due and (has_failed or delivery.due > now):
        when = format_time(delivery.due, now) if delivery.due > now else "now"
        text = f"{_last_attempt(delivery)} Next: {when}."
        return WaitReason(("due", delivery.due), text)
    if target and target["state"] == "waiting":
        until = target["until"]
        text = f"{target['name']} asked to wait until {format_time(until, now)}."
        return WaitReason(("waiting", until), text)
    text = f"Delivery {delivery.id} waits for a free slot at {delivery.destination}."
    return WaitReason(("slot", None), text)


def _blocked(delivery: Delivery, target: Json, now: datetime) -> WaitReason:
    name, state, since = target["name"], target["state"], target["since"]
    condition = {"paused": "it is resumed", "down": "it responds again or is resumed"}[state]
    text = (
        f"{name} is {state}, since {format_time(since, now)}. Delivery {delivery.id} is stored; a"
        f" running relay imports it when {condition}: `relay resume {name}`."
        f" To see the result: `relay show {delivery.id}`."
    )
    return WaitReason((state, since), text, is_blocked=True)


def _last_attempt(delivery: Delivery) -> str:
    if delivery.error is None:
        return f"Delivery {delivery.id} is not due yet."
    error = delivery.error
    return f"Attempt {delivery.attempts} failed: {error.message.en} ({error.code})."
