"""Tests of recording outcomes."""

from __future__ import annotations

import pytest

from relay.model import (
    AttemptOutcome,
    Failed,
    Kind,
    NewMessage,
    Retry,
    Skipped,
    State,
    Succeeded,
    Trigger,
)


def test_a_success_stores_the_result_and_the_response(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.later(seconds=3)
    assert driver.finish(claim, Succeeded({"urn": "urn:1"}, '{"ok": true}'))
    delivery = driver.read(claim.delivery.id)
    assert (delivery.state, delivery.result) == (State.SUCCEEDED, {"urn": "urn:1"})
    assert (delivery.finished, delivery.due, delivery.error) == (driver.now, None, None)
    (attempt,) = ledger.history.attempts(delivery.id)
    assert (attempt.outcome, attempt.answer) == ("succeeded", '{"ok": true}')
    assert attempt.finished == driver.now


def test_a_skip_stores_the_reason(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.finish(claim, Skipped("gone", {"words": "it is gone"}))
    delivery = driver.read(claim.delivery.id)
    assert (delivery.state, delivery.reason) == (State.SKIPPED, "gone")
    assert (delivery.result, delivery.finished) == ({"words": "it is gone"}, driver.now)
    assert ledger.history.attempts(delivery.id)[0].outcome == "skipped"


def test_a_failure_stores_the_problem_in_both_languages(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.finish(claim, Failed(driver.problem, "503"))
    delivery = driver.read(claim.delivery.id)
    assert (delivery.state, delivery.error) == (State.FAILED, driver.problem)
    (attempt,) = ledger.history.attempts(delivery.id)
    assert (attempt.outcome, attempt.error, attempt.answer) == ("failed", driver.problem, "503")


def test_a_retry_has_a_due_time_and_a_reason(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.retry(claim, seconds=40)
    delivery = driver.read(claim.delivery.id)
    assert (delivery.state, delivery.error) == (State.PENDING, driver.problem)
    assert (delivery.due - driver.now).total_seconds() == 40
    assert delivery.finished is None
    assert ledger.history.attempts(delivery.id)[0].outcome == "retry"


def test_a_success_after_a_retry_clears_the_problem(driver):
    driver.deliver_to("prod", version="1")
    driver.retry(driver.claimed())
    driver.later(seconds=10)
    claim = driver.claimed()
    driver.finish(claim)
    delivery = driver.read(claim.delivery.id)
    assert (delivery.error, delivery.attempts) == (None, 2)


def test_a_retry_without_a_due_time_is_a_programming_error(driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    with pytest.raises(ValueError, match="retry"):
        driver.finish(claim, Retry(driver.problem))
    assert driver.read(claim.delivery.id).state == State.RUNNING


def test_a_long_answer_is_cut_at_four_kib_of_whole_characters(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.finish(claim, Succeeded({}, "字" * 5000))
    (attempt,) = ledger.history.attempts(claim.delivery.id)
    assert attempt.answer == "字" * 1365


def test_messages_are_stored_with_the_outcome_and_due_at_once(ledger, driver):
    delivery = driver.done(version="v1")
    (message,) = ledger.history.messages(delivery.id)
    assert (message.kind, message.destination) == (Kind.MESSAGE, "ops")
    assert (message.state, message.due, message.parent) == (State.PENDING, driver.now, delivery.id)
    body = {"type": "import.succeeded", "body": {"key": "prod/a.zip"}}
    assert message.message == body
    for name in ("source", "route", "bucket", "key", "version", "event_id"):
        assert getattr(message, name) == getattr(delivery, name)
    claim = driver.claimed(kind=Kind.MESSAGE)
    assert claim.delivery.id == message.id


def test_each_channel_gets_its_own_message(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    messages = [NewMessage(channel, "import.failed", {}) for channel in ("ops", "dev")]
    driver.finish(claim, Failed(driver.problem), messages=messages)
    assert {message.destination for message in ledger.history.messages(claim.delivery.id)} == {
        "ops",
        "dev",
    }


def test_an_attempt_never_changes_once_finished(ledger, driver):
    driver.deliver_to("prod", version="1")
    driver.retry(driver.claimed())
    (before,) = ledger.history.attempts(
        driver.ledger.history.event_deliveries(one_event(driver))[0].id
    )
    driver.later(seconds=10)
    driver.finish(driver.claimed())
    first, second = ledger.history.attempts(before.delivery_id)
    assert first == before
    assert (second.number, second.trigger) == (2, Trigger.AUTOMATIC)


def one_event(driver):
    return driver.event(version="1").id_in("exports")


def test_stored_outcomes_do_not_depend_on_names_in_the_code():
    assert [str(outcome) for outcome in AttemptOutcome] == [
        "succeeded",
        "skipped",
        "failed",
        "retry",
        "lost",
        "hung",
        "released",
    ]
