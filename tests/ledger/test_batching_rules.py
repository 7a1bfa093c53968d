"""Tests of the rules for quiet hours, urgent messages and digests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.config.load import ChannelSettings
from relay.ledger.batching_rules import (
    MINUTE,
    RECHECK,
    RecentPosts,
    is_urgent,
    next_free_slot,
    quiet_until,
    should_batch,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def channel(**more):
    return ChannelSettings(kind="slack", **more)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT, BERLIN = "22:00-07:00", "Europe/Berlin"


@pytest.mark.parametrize(
    ("hours", "zone", "now", "until"),
    [
        (NIGHT, "UTC", "2026-05-01 21:59:59", None),
        (NIGHT, "UTC", "2026-05-01 22:00", "2026-05-02 07:00"),
        (NIGHT, "UTC", "2026-05-01 23:59:59.999999", "2026-05-02 07:00"),
        (NIGHT, "UTC", "2026-05-02 06:59:59.5", "2026-05-02 07:00"),
        (NIGHT, "UTC", "2026-05-02 07:00", None),
        ("12:00-13:30", "UTC", "2026-05-01 12:10", "2026-05-01 13:30"),
        ("12:00-13:30", "UTC", "2026-05-01 11:59", None),
        (NIGHT, "Asia/Shanghai", "2026-05-01 14:00", "2026-05-01 23:00"),
        (NIGHT, "Asia/Shanghai", "2026-05-01 23:00", None),
        # Daylight saving time begins this night: the hour from 2 to 3 is missing.
        (NIGHT, BERLIN, "2026-03-28 21:00", "2026-03-29 05:00"),
        # Daylight saving time ends this night: the hour from 2 to 3 occurs twice.
        (NIGHT, BERLIN, "2026-10-24 20:00", "2026-10-25 06:00"),
        # Quiet hours that end in the missing hour end when the clock skips it.
        ("22:00-02:30", BERLIN, "2026-03-28 23:00", "2026-03-29 01:00"),
        # Quiet hours that begin in the repeated hour apply both times.
        ("02:15-02:45", BERLIN, "2026-10-25 00:20", "2026-10-25 00:45"),
        ("02:15-02:45", BERLIN, "2026-10-25 01:20", "2026-10-25 01:45"),
        (None, "UTC", "2026-05-01 23:00", None),
    ],
)
def test_quiet_hours_follow_the_local_time(hours, zone, now, until):
    found = quiet_until(channel(quiet_hours=hours, timezone=zone), at(now))
    assert found == (at(until) if until else None)


def make_message(type_, **body):
    return {"type": type_, "body": {"recovered": None, **body}}


RECOVERED = {"recovered": {"failed_at": "2026-05-01", "message": "m"}}


@pytest.mark.parametrize(
    ("message", "urgent", "expected"),
    [
        (make_message("import.failed"), ("failed",), True),
        (make_message("import.failed"), ("skipped",), False),
        (make_message("import.succeeded"), ("failed",), False),
        (make_message("import.succeeded", **RECOVERED), ("failed",), True),
        (make_message("import.succeeded", **RECOVERED), ("skipped",), False),
        (make_message("import.succeeded"), ("succeeded", "failed"), True),
        (make_message("digest", results={"succeeded": 3}, deliveries=[{}]), ("failed",), False),
        (
            make_message("digest", results={"succeeded": 3, "failed": 1}, deliveries=[]),
            ("failed",),
            True,
        ),
        (
            make_message("digest", results={"succeeded": 3}, deliveries=[RECOVERED]),
            ("failed",),
            True,
        ),
    ],
)
def test_the_channel_names_urgent_results_and_a_recovery_counts_as_a_failure(
    message, urgent, expected
):
    assert is_urgent(message, channel(urgent=urgent)) is expected


def ago(*seconds):
    return [NOW - timedelta(seconds=second) for second in seconds]


@pytest.mark.parametrize(
    ("lately", "room"),
    [
        (RecentPosts(), None),
        (RecentPosts(ago(1, 2)), None),
        (RecentPosts(ago(1, 2, 30)), NOW + timedelta(seconds=30)),
        (RecentPosts(ago(1, 2, 30, 59)), NOW + timedelta(seconds=30)),
        (RecentPosts(ago(20), digest=ago(20)[0]), NOW + timedelta(seconds=40)),
        (RecentPosts(ago(1, 2, 3), digest=ago(3)[0]), NOW + timedelta(seconds=57)),
        (RecentPosts(ago(1), under_way=1), None),
        (RecentPosts(ago(1), under_way=2), NOW + RECHECK),
        (RecentPosts(under_way=1, digest_under_way=True), NOW + RECHECK),
    ],
)
def test_three_posts_fit_into_any_minute_and_none_after_a_digest(lately, room):
    assert next_free_slot(lately, 3, NOW) == room


def test_the_free_slot_is_free_when_it_begins():
    lately = RecentPosts(ago(5, 10, 15), digest=ago(15)[0])
    room = next_free_slot(lately, 3, NOW)
    still = tuple(moment for moment in lately.posted if moment > room - MINUTE)
    assert next_free_slot(RecentPosts(still), 3, room) is None


@pytest.mark.parametrize(
    ("posted", "under_way", "waiting", "many"),
    [(0, 0, 9, False), (0, 0, 10, True), (9, 0, 0, False), (9, 0, 1, True), (4, 3, 2, False)],
)
def test_more_than_ten_posted_or_waiting_messages_are_batched(posted, under_way, waiting, many):
    lately = RecentPosts(ago(*range(posted)), under_way=under_way)
    assert should_batch(lately, 10, waiting) is many
