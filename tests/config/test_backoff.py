"""When failed attempts are tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.backoff import Backoff, next_due

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def delay(attempt: int, jitter: float = 0.5, rules: Backoff | None = None) -> timedelta | None:
    due = next_due(attempt, NOW, jitter=jitter, rules=rules or Backoff())
    return due and due - NOW


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [(1, 10), (2, 40), (3, 160), (4, 640), (5, 2560), (6, 10_240), (7, 10_800), (19, 10_800)],
)
def test_delays_grow_fourfold_up_to_three_hours(attempt: int, seconds: int) -> None:
    assert delay(attempt) == timedelta(seconds=seconds)


@pytest.mark.parametrize("attempt", [20, 21, 10**9])
def test_after_the_last_attempt_there_is_none(attempt: int) -> None:
    assert delay(attempt) is None


def test_twenty_attempts_last_about_two_days() -> None:
    total = sum((delay(n) or timedelta() for n in range(1, 21)), timedelta())
    assert timedelta(days=1) < total < timedelta(days=2)


@given(st.integers(1, 19), st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_a_delay_by_a_tenth(attempt: int, jitter: float) -> None:
    middle, spread = delay(attempt), delay(attempt, jitter)
    assert middle
    assert spread
    assert middle * 0.9 <= spread <= middle * 1.1


def test_the_ends_of_the_jitter_are_a_tenth_away() -> None:
    assert delay(1, 0.0) == timedelta(seconds=9)
    assert delay(1, 0.9999999999) == timedelta(seconds=11)


def test_the_rules_can_be_others() -> None:
    rules = Backoff(3, timedelta(seconds=1), timedelta(seconds=3))
    seconds = [1, 3, None]
    expected = [second and timedelta(seconds=second) for second in seconds]
    assert [delay(n, rules=rules) for n in (1, 2, 3)] == expected


def test_a_thousand_attempts_do_not_overflow() -> None:
    assert delay(999, rules=Backoff(attempts=1000)) == timedelta(hours=3)
