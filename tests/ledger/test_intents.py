"""Tests of the intents of calls, and of imports that wait for a call of another import."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from relay.intents import ChangeCall, Intent, IntentState, NewIntent
from relay.ledger import RetentionPolicy
from relay.ledger.schema import attempts
from relay.model import Claim, Failed, State
from tests.ledger.test_functions import lock_function, upload

POLICY = RetentionPolicy(timedelta(days=90), 100_000, timedelta(days=30))
SETTLES = timedelta(seconds=120)


def change(name: str = "hello") -> NewIntent:
    return NewIntent(ChangeCall.CREATE, "hello", name, "default", "ab", 7, name_was_free=True)


def record(driver: Any, claim: Claim, what: NewIntent | None = None) -> Intent:
    intent = driver.ledger.intents.record(claim, what or change(), driver.now, SETTLES)
    assert intent is not None
    return intent


def test_an_intent_is_read_as_it_was_recorded(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    intent = record(driver, claim)
    assert ledger.intents.of_delivery(claim.delivery.id, 1) == (intent,)
    assert (intent.what, intent.settled_at) == (change(), driver.now + SETTLES)


def test_the_next_claim_carries_the_open_and_the_applied_intents_of_the_run(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    states = IntentState.APPLIED, IntentState.REFUSED, IntentState.NEVER_SENT
    for state in states:
        ledger.intents.close([record(driver, claim)], state, driver.now)
    record(driver, claim)
    driver.retry(claim)
    driver.later(seconds=10)
    states = {intent.state for intent in driver.claimed().intents}
    assert states == {IntentState.APPLIED, IntentState.OPEN}


def test_a_claim_that_is_lost_records_nothing(ledger, driver):
    driver.deliver_to("prod", version="1")
    old = driver.claimed("w1")
    driver.later(seconds=60)
    driver.claimed("w2")
    assert ledger.intents.record(old, change(), driver.now, SETTLES) is None
    assert ledger.intents.of_delivery(old.delivery.id, 1) == ()


def test_a_success_closes_all_open_intents_of_the_delivery(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    record(driver, claim)
    driver.finish(claim)
    (intent,) = ledger.intents.of_delivery(claim.delivery.id, 1)
    assert intent.state is IntentState.APPLIED
    ledger.retriggers.retrigger(claim.delivery.id, driver.now)
    assert driver.claimed().intents == (), "an applied intent counts in its own run only"


class TestWaiting:
    def test_another_import_of_the_function_waits_until_the_call_is_settled(self, driver):
        upload(driver, "v1.zip")
        second = upload(driver, "v2.zip")
        first = driver.claimed("w1")
        intent = record(driver, first)
        driver.retry(first, seconds=3600)
        assert lock_function(driver, driver.claimed("w2")) == "busy"
        waiting = driver.read(second)
        assert (waiting.state, waiting.due) == (State.PENDING, intent.settled_at)
        assert waiting.attempts == 0
        driver.now = intent.settled_at
        assert lock_function(driver, driver.claimed("w2")) == "locked"

    def test_an_import_that_waits_is_due_when_the_call_is_closed(self, ledger, driver):
        upload(driver, "v1.zip")
        second = upload(driver, "v2.zip")
        first = driver.claimed("w1")
        intent = record(driver, first)
        driver.retry(first, seconds=3600)
        lock_function(driver, driver.claimed("w2"))
        driver.later(seconds=1)
        ledger.intents.close([intent], IntentState.REFUSED, driver.now)
        assert driver.read(second).due == driver.now
        assert lock_function(driver, driver.claimed("w2")) == "locked"

    @pytest.mark.parametrize(
        ("call", "lock"),
        [
            (ChangeCall.UPDATE_CODE, "busy"),
            (ChangeCall.UPDATE_CONFIGURATION, "busy"),
            (ChangeCall.CREATE, "locked"),  # a late one is refused, because the name is taken
        ],
    )
    def test_an_import_waits_for_a_lost_call_that_was_repeated(self, driver, call, lock):
        upload(driver, "v1.zip")
        first = driver.claimed("w1")
        lost = record(driver, first, replace(change(), call=call))
        driver.retry(first, seconds=1)
        driver.later(seconds=1)
        again = driver.claimed("w1")
        record(driver, again, replace(change(), call=call))
        driver.finish(again)
        upload(driver, "v2.zip")
        assert lock_function(driver, driver.claimed("w2")) == lock
        driver.now = lost.settled_at
        assert lock == "locked" or lock_function(driver, driver.claimed("w2")) == "locked"

    def test_the_delivery_itself_does_not_wait(self, driver):
        upload(driver, "v1.zip")
        claim = driver.claimed()
        record(driver, claim)
        driver.retry(claim, seconds=1)
        driver.later(seconds=1)
        assert lock_function(driver, driver.claimed()) == "locked"

    @pytest.mark.parametrize("other", [{"function": "other"}, {"destination": "test"}])
    def test_other_functions_do_not_wait(self, driver, other):
        upload(driver, "v1.zip")
        first = driver.claimed("w1")
        record(driver, first)
        driver.retry(first, seconds=3600)
        upload(driver, "v2.zip", **other)
        claim = driver.claimed("w2")
        assert lock_function(driver, claim, other.get("function", "hello")) == "locked"


class TestQuestions:
    """Failed deliveries whose effect is unknown: their targets are asked again."""

    def failed(self, driver: Any) -> Claim:
        driver.deliver_to("prod", version="1")
        claim = driver.claimed()
        record(driver, claim)
        driver.finish(claim, Failed(driver.problem))
        return claim

    def test_are_asked_once_per_interval_by_one_process(self, ledger, driver):
        claim = self.failed(driver)
        every = timedelta(minutes=10)
        assert ledger.intents.take_question(driver.now, every) == claim.delivery.id
        assert ledger.intents.take_question(driver.now, every) is None
        driver.later(minutes=10)
        assert ledger.intents.take_question(driver.now, every) == claim.delivery.id

    def test_are_only_about_failed_deliveries(self, ledger, driver):
        claim = self.failed(driver)
        ledger.retriggers.retrigger(claim.delivery.id, driver.now)
        assert ledger.intents.take_question(driver.now, timedelta(minutes=10)) is None

    def test_their_deliveries_are_never_purged(self, ledger, driver):
        claim = self.failed(driver)
        driver.later(days=400)
        newer = driver.done(version="2")
        assert newer.state == State.SUCCEEDED
        ledger.retention.prune_deliveries(ledger.retention.cutoff(POLICY, driver.now))
        assert ledger.history.delivery(claim.delivery.id) is not None
        (intent,) = ledger.intents.of_delivery(claim.delivery.id, 1)
        ledger.intents.close([intent], IntentState.NOT_APPLIED, driver.now)
        ledger.retention.prune_deliveries(ledger.retention.cutoff(POLICY, driver.now))
        assert ledger.history.delivery(claim.delivery.id) is None


class TestOlderRelay:
    """Attempts of a Relay that recorded no intents: may they have reached the target?"""

    def attempt_of_an_older_relay(self, ledger: Any, driver: Any, end: Any) -> Claim:
        driver.deliver_to("prod", version="1")
        claim = driver.claimed("old")
        with ledger._database.write() as connection:
            connection.execute(update(attempts).values(records_intents=None))
        end(claim)
        driver.later(seconds=10)
        again = driver.claimed("new")
        assert again.delivery.id == claim.delivery.id
        return again

    def test_a_lost_attempt_may_have(self, ledger, driver):
        again = self.attempt_of_an_older_relay(
            ledger, driver, lambda _: ledger.queue.reclaim("old", driver.now)
        )
        (intent,) = again.intents
        assert (intent.what, intent.is_open) == (None, True)

    def test_an_attempt_that_could_not_read_the_object_has_not(self, ledger, driver):
        again = self.attempt_of_an_older_relay(ledger, driver, driver.retry)
        assert again.intents == ()

    def test_a_lost_attempt_of_this_relay_that_recorded_nothing_has_not(self, ledger, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed("w1")
        ledger.queue.reclaim("w1", driver.now)
        assert driver.claimed("w2").intents == ()
