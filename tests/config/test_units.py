"""Sizes, durations and rates."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.units import (
    RateLimit,
    duration_words,
    parse_duration,
    parse_rate,
    parse_size,
    rate_words,
    size_words,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("300MiB", 300 * 2**20),
        ("300 MiB", 300 * 2**20),
        ("300mib", 300 * 2**20),
        ("1MB", 10**6),
        ("12B", 12),
        ("12", 12),
        (12, 12),
        (0, 0),
    ],
)
def test_a_size_is_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "1.5GiB", "-1", -1, True, None, "1M", "1e3", 1.5, "９"]
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match='such as "300MiB"'):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), (0, 0), ("500ms", 0.5), ("10s", 10), ("15m", 900), ("1h30m", 5400), ("2d", 172_800)],
)
def test_a_duration_is_a_span(text: object, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "10", 10, "m", "1.5h", "-1s", True, None, "999999999w", "1 h"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match='such as "500ms"'):
        parse_duration(text)


@pytest.mark.parametrize("text", ["10/1m", "10/m", "10/60s"])
def test_a_rate_is_a_count_in_a_period(text: str) -> None:
    assert parse_rate(text) == RateLimit(10, timedelta(minutes=1))


@pytest.mark.parametrize("text", ["", "10", "10/", "0/1m", "10/0", "10/0s", "/1m", 10, None, "1/x"])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match='such as "10/1m"'):
        parse_rate(text)


@given(st.integers(0, 10**14))
def test_words_for_a_size_mean_that_size(size: int) -> None:
    assert parse_size(size_words(size)) == size


@given(st.integers(0, 10**9))
def test_words_for_a_duration_mean_that_duration(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(duration_words(duration)) == duration


def test_words_are_short() -> None:
    assert size_words(300 * 2**20) == "300MiB"
    assert duration_words(timedelta(hours=3)) == "3h"
    assert rate_words(RateLimit(10, timedelta(minutes=1))) == "10/1m"
