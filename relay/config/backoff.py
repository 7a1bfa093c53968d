"""The retry schedule: a pure function of the attempt's number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

_GROWTH = 4
_SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Backoff:
    """`attempts` in all; the first delay, four times as long each time, never over `longest`.

    `give_up_after`: how long a delivery is tried in all.
    """

    attempts: int = 20
    first: timedelta = timedelta(seconds=10)
    longest: timedelta = timedelta(hours=3)
    give_up_after: timedelta = timedelta(days=2)


_DEFAULT = Backoff()


def next_due(
    attempt: int, now: datetime, *, jitter: float, rules: Backoff = _DEFAULT
) -> datetime | None:
    """When to try again after failed attempt number `attempt` (from 1); None means never.

    By default about 10 s, 40 s, 3 min, 11 min, 43 min, then every 3 h, for 20 attempts.
    """
    if attempt >= rules.attempts:
        return None
    return now + delay(attempt, jitter=jitter, rules=rules)


def delay(attempt: int, *, jitter: float, rules: Backoff = _DEFAULT) -> timedelta:
    """How long to wait after attempt number `attempt` (from 1).

    `jitter` in [0, 1) spreads a delay over ±10 %, so that deliveries that failed together do not
    retry together.
    """
    longer = rules.first
    for _ in range(attempt - 1):
        if longer >= rules.longest:
            break
        longer *= _GROWTH
    return min(longer, rules.longest) * (1 - _SPREAD + 2 * _SPREAD * jitter)
