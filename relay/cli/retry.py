"""Tries a file's import again, in the foreground, when waiting would help."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.cli.output import span
from relay.config.backoff import Backoff, next_due
from relay.delivery.conflict import ImportRequest
from relay.errors import TemporaryFailure
from relay.model import Localized, Skipped, Succeeded, utc_now

RULES = Backoff(attempts=5, first=timedelta(seconds=2), longest=timedelta(seconds=30))
"""About 2 s, 8 s, 30 s, 30 s: as long as somebody watches."""

LONGEST = timedelta(minutes=2)
"""Who is asked to wait longer than that gives up: to come back earlier would be rude."""

Bring = Callable[[ImportRequest], Succeeded | Skipped]


@dataclass(frozen=True, slots=True)
class ForegroundRetry:
    """How long to wait, and how: tests wait without sleeping."""

    say: Callable[[str], None]
    clock: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep
    rules: Backoff = RULES

    def bring(self, wish: ImportRequest, bring: Bring) -> Succeeded | Skipped:
        """Brings it, after temporary failures again. Raises what the last try raised, with a hint
        that is true here: nothing was recorded, so nobody else tries again."""
        attempt = 1
        while True:
            try:
                return bring(wish)
            except TemporaryFailure as failure:
                wait = self._wait(attempt, failure)
                if wait is None:
                    raise _given_up(failure, attempt) from failure
                self._tell(attempt, failure, wait)
            self.sleep(wait.total_seconds())
            # From now on the target may hold it: an answer that was lost, perhaps.
            wish, attempt = replace(wish, earlier=True), attempt + 1

    def _wait(self, attempt: int, failure: TemporaryFailure) -> timedelta | None:
        now = self.clock()
        due = next_due(attempt, now, jitter=random.random(), rules=self.rules)  # noqa: S311
        if due is None:
            return None
        wait = due - now if failure.retry_after is None else failure.retry_after
        return None if wait > LONGEST else wait

    def _tell(self, attempt: int, failure: TemporaryFailure, wait: timedelta) -> None:
        words = f"Attempt {attempt} failed: {failure.message.en} ({failure.code})."
        self.say(f"{words} {failure.hint.en}".rstrip())
        self.say(f"Attempt {attempt + 1} of {self.rules.attempts} in {span(wait.total_seconds())}.")


def _given_up(failure: TemporaryFailure, attempts: int) -> TemporaryFailure:
    en, zh = "later", "稍后"
    if asked := failure.retry_after:
        seconds = round(asked.total_seconds())
        en, zh = f"in {span(seconds)}, as it asks", f"按对方要求在 {seconds} 秒后"
    hint = Localized(
        f"Tried {_times(attempts)}. Run the command again {en}: it first asks what is held there.",
        f"已尝试 {attempts} 次。请{zh}重新运行该命令：它会先查询目标端的现状。",
    )
    return TemporaryFailure(failure.code, failure.message, hint, answer=failure.answer)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
