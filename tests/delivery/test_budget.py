"""When Relay tries again, and when it gives up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.config.backoff import Backoff
from relay.delivery.run import end_without_attempt, give_up, next_attempt_at
from relay.model import Claim, Delivery, Kind, Localized, Problem, Retry, State

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
RULES = Backoff()
BUSY = Problem("api.busy", Localized("It is busy", "服务繁忙"), Localized("Wait.", "请等待。"))
FAILURE = Retry(BUSY)
ASKED = Retry(BUSY, retry_after=SECOND)
THROTTLED = Retry(BUSY, pauses_destination=True)
PROBE = Retry(BUSY, destination_failing=True, is_probe=True)
UNCOUNTED = Retry(BUSY, timedelta(seconds=30), counts_as_attempt=False)


def claim(attempt=1, waits=0, created=NOW, *, is_overdue=False, **more):
    due = more.pop("due", NOW)
    delivery = Delivery(
        *("d1", Kind.IMPORT, State.RUNNING, "s", "r", "b", "a.zip", "prod", created),
        due=due,
        waits=waits,
        **more,
    )
    return Claim(delivery, None, "w1", 1, attempt, is_overdue=is_overdue)


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch):
    monkeypatch.setattr("relay.delivery.run.random.random", lambda: 0.5)


def wait(claim, outcome):
    return next_attempt_at(claim, outcome, NOW, RULES) - NOW


@pytest.mark.parametrize("asked", [1, 25, 3600])
def test_the_next_try_is_not_before_the_backoff_and_not_before_what_was_asked(asked):
    outcome = Retry(BUSY, retry_after=timedelta(seconds=asked))
    assert wait(claim(), outcome) == timedelta(seconds=max(10, asked))


@pytest.mark.parametrize("outcome", [ASKED, THROTTLED, PROBE], ids=["asked", "429", "probe"])
def test_the_backoff_grows_while_the_requests_repeat(outcome):
    """So that hours of "Retry-After: 1" are not thousands of attempts."""
    seconds = [wait(claim(waits=waits), outcome).total_seconds() for waits in range(8)]
    assert seconds == [10, 40, 160, 640, 2560, 10240, 10800, 10800]


def test_failures_and_requests_to_wait_count_together_for_the_backoff():
    assert wait(claim(attempt=2, waits=1), FAILURE) == timedelta(seconds=160)


def test_a_try_that_does_not_count_is_due_exactly_then():
    assert wait(claim(attempt=5, waits=5), UNCOUNTED) == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("outcome", "is_limited"),
    [(FAILURE, True), (ASKED, False), (THROTTLED, False), (PROBE, False), (UNCOUNTED, False)],
    ids=["failure", "asked", "429", "probe", "uncounted"],
)
def test_only_failures_that_nothing_asked_to_wait_for_are_limited(outcome, is_limited):
    failed = give_up(claim(attempt=20, waits=500), outcome, NOW, RULES)
    assert (failed is not None) == is_limited
    if failed:
        assert (failed.gave_up, failed.problem.code) == ("attempts", BUSY.code)


@pytest.mark.parametrize("outcome", [FAILURE, ASKED, THROTTLED, PROBE])
def test_a_delivery_ends_with_its_time_and_says_so(outcome):
    began = NOW - 2 * DAY
    assert give_up(claim(created=began + SECOND), outcome, NOW, RULES) is None
    failed = give_up(claim(created=began), outcome, NOW, RULES)
    assert (failed.gave_up, failed.problem.code) == ("time", "delivery.gave_up")
    assert failed.destination_failing == outcome.destination_failing
    message, hint = failed.problem.message, failed.problem.hint
    assert message.en == "Relay gave up after 2d. The last error: It is busy (api.busy)"
    assert message.zh == "Relay 尝试 2d 后放弃。最后的错误：服务繁忙（api.busy）"
    assert "retrigger" in hint.en
    assert "重新触发" in hint.zh


def test_the_time_of_a_run_counts_and_not_the_age_of_the_delivery():
    retriggered = claim(created=NOW - 90 * DAY, budget_from=NOW - HOUR)
    assert give_up(retriggered, FAILURE, NOW, RULES) is None


def test_a_delivery_that_waits_for_the_configuration_never_ends():
    assert give_up(claim(created=NOW - 90 * DAY), UNCOUNTED, NOW, RULES) is None


def test_the_last_attempt_is_made_when_the_time_ends():
    began = NOW - 2 * DAY + timedelta(seconds=7)
    assert wait(claim(created=began), FAILURE) == timedelta(seconds=7)
    asked = Retry(BUSY, retry_after=timedelta(seconds=90))
    assert wait(claim(created=began), asked) == timedelta(seconds=90)


def test_an_attempt_after_relay_was_not_running_does_not_end_the_delivery():
    """After a week without a worker, the first attempt may find the network not yet up."""
    late = claim(created=NOW - 7 * DAY, due=NOW - 6 * DAY)
    assert give_up(late, FAILURE, NOW, RULES) is None
    assert wait(late, FAILURE) == timedelta(seconds=10)
    assert give_up(claim(created=NOW - 7 * DAY), FAILURE, NOW, RULES)


def test_a_delivery_that_ends_without_an_attempt_names_the_last_error():
    assert (
        "It is busy (api.busy)"
        in end_without_attempt(claim(error=BUSY, is_overdue=True), RULES).problem.message.en
    )
    never_tried = end_without_attempt(claim(is_overdue=True), RULES)
    assert never_tried.gave_up == "time"
    assert "never tried" in never_tried.problem.message.en
    assert "未能尝试" in never_tried.problem.message.zh


def test_a_delivery_that_was_given_up_is_not_tried_again():
    """It was recorded as a retry only because the target could not be asked what was changed."""
    ended = end_without_attempt(claim(error=BUSY, gave_up="attempts"), RULES)
    assert (ended.problem, ended.gave_up) == (BUSY, "attempts")
    assert end_without_attempt(claim(error=BUSY), RULES) is None
