"""Tests of retriggering deliveries."""

from __future__ import annotations

import pytest

from relay.ledger import Conflict, NotFound
from relay.model import Failed, NewDelivery, Skipped, State, Trigger


@pytest.fixture
def failed(driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.finish(claim, Failed(driver.problem))
    return driver.read(claim.delivery.id)


def test_a_finished_delivery_is_due_in_a_new_run(ledger, driver, failed):
    driver.later(minutes=5)
    again = ledger.retriggers.retrigger(failed.id, driver.now)
    assert again == driver.read(failed.id)
    assert (again.state, again.due, again.trigger) == (State.PENDING, driver.now, Trigger.MANUAL)
    assert (again.run, again.finished, again.error) == (2, None, None)
    claim = driver.claimed()
    assert (claim.attempt, claim.delivery.attempts) == (1, 2)
    assert ledger.history.attempts(failed.id)[1].trigger == Trigger.MANUAL


def test_the_result_of_the_previous_run_is_cleared(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.finish(claim, Skipped("gone", {"words": "gone"}))
    again = ledger.retriggers.retrigger(claim.delivery.id, driver.now)
    assert (again.reason, again.result) == (None, None)


def test_options_override_those_of_the_delivery(ledger, driver):
    driver.accept(driver.event(version="1"))
    claim = driver.claimed()
    driver.finish(claim)
    again = ledger.retriggers.retrigger(claim.delivery.id, driver.now, options={"package": "p"})
    assert again.options == {"on_conflict": "skip", "package": "p"}
    again = ledger.retriggers.retrigger(
        claim.delivery.id, driver.now, options={"on_conflict": "update"}
    )
    assert again.options == {"on_conflict": "update", "package": "p"}


def test_a_pending_delivery_is_due_at_once_in_the_same_run(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.retry(claim, seconds=3600)
    again = ledger.retriggers.retrigger(claim.delivery.id, driver.now)
    assert (again.due, again.trigger, again.run) == (driver.now, Trigger.MANUAL, 1)
    assert driver.claimed().delivery.attempts == 2


def test_a_running_delivery_is_not_disturbed(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    with pytest.raises(Conflict, match="running"):
        ledger.retriggers.retrigger(claim.delivery.id, driver.now)
    assert driver.finish(claim)


def test_an_unknown_delivery_is_not_found(ledger, driver):
    with pytest.raises(NotFound, match="no delivery nobody"):
        ledger.retriggers.retrigger("nobody", driver.now)


def test_a_delivery_without_a_destination_cannot_be_retriggered(ledger, driver):
    nowhere = (NewDelivery("", "", {}, state=State.SKIPPED, reason="no route"),)
    accepted = driver.accept(driver.event(version="1"), deliveries=nowhere)
    with pytest.raises(Conflict, match="no_route"):
        ledger.retriggers.retrigger(accepted.deliveries[0], driver.now)


class TestIdempotencyKey:
    def test_the_same_key_again_does_nothing(self, ledger, driver, failed):
        ledger.retriggers.retrigger(failed.id, driver.now, key="k1")
        claim = driver.claimed()
        assert ledger.retriggers.retrigger(failed.id, driver.now, key="k1").state == State.RUNNING
        driver.finish(claim)
        again = ledger.retriggers.retrigger(failed.id, driver.now, key="k1")
        assert (again.state, again.run) == (State.SUCCEEDED, 2)

    def test_another_key_is_another_request(self, ledger, driver, failed):
        ledger.retriggers.retrigger(failed.id, driver.now, key="k1")
        driver.finish(driver.claimed())
        assert ledger.retriggers.retrigger(failed.id, driver.now, key="k2").run == 3

    def test_a_key_of_another_delivery_is_refused(self, ledger, driver, failed):
        ledger.retriggers.retrigger(failed.id, driver.now, key="k1")
        other = driver.deliver_to("test", "b.zip", version="1")
        with pytest.raises(Conflict, match="another delivery"):
            ledger.retriggers.retrigger(other.id, driver.now, key="k1")

    def test_a_key_of_a_refused_request_can_be_used_again(self, ledger, driver, failed):
        ledger.retriggers.retrigger(failed.id, driver.now)
        claim = driver.claimed()
        with pytest.raises(Conflict):
            ledger.retriggers.retrigger(failed.id, driver.now, key="k1")
        driver.finish(claim)
        assert ledger.retriggers.retrigger(failed.id, driver.now, key="k1").run == 3


def test_the_requester_is_stored_with_each_attempt_of_the_run(ledger, driver, failed):
    again = ledger.retriggers.retrigger(failed.id, driver.now, by="link in ops from 203.0.113.7")
    claim = driver.claimed()
    driver.finish(claim, Failed(driver.problem))
    assert again.by == claim.delivery.by == "link in ops from 203.0.113.7"
    assert [attempt.by for attempt in ledger.history.attempts(failed.id)] == [None, again.by]
    assert ledger.retriggers.retrigger(failed.id, driver.now).by is None


class TestExpectedAttempts:
    def test_a_delivery_with_the_expected_attempts_is_retriggered(self, ledger, driver, failed):
        assert (
            ledger.retriggers.retrigger(
                failed.id, driver.now, expected_attempts=failed.attempts
            ).run
            == 2
        )

    @pytest.mark.parametrize("since", ["pending", "running", "failed again"])
    def test_a_delivery_with_more_attempts_is_not_retriggered(self, ledger, driver, failed, since):
        ledger.retriggers.retrigger(failed.id, driver.now, expected_attempts=failed.attempts)
        if since != "pending":
            claim = driver.claimed()
        if since == "failed again":
            driver.finish(claim, Failed(driver.problem))
        before = driver.read(failed.id)
        with pytest.raises(Conflict) as caught:
            ledger.retriggers.retrigger(failed.id, driver.now, expected_attempts=failed.attempts)
        assert caught.value.code == "delivery.tried_since"
        assert driver.read(failed.id) == before
