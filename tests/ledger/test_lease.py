"""Tests of leases, and of the fence that stops a late worker."""

from __future__ import annotations

from datetime import timedelta

from relay.model import NewMessage, Skipped, State

LEASE = timedelta(seconds=30)


def test_an_expired_lease_is_taken_over_and_the_attempt_is_lost(ledger, driver):
    driver.deliver_to("prod", version="1")
    old = driver.claimed("w1")
    driver.later(seconds=30)
    new = driver.claimed("w2")
    assert (new.delivery.id, new.owner) == (old.delivery.id, "w2")
    assert (new.fence, new.attempt) == (2, 2)
    lost, running = ledger.history.attempts(old.delivery.id)
    assert (lost.outcome, lost.finished, running.outcome) == ("lost", driver.now, None)


def test_a_renewed_lease_lasts(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.later(seconds=20)
    assert ledger.queue.renew([claim], LEASE, driver.now) == {claim.delivery.id}
    driver.later(seconds=29)
    assert driver.claim("w2") is None


def test_only_claims_that_still_hold_are_renewed(ledger, driver):
    driver.deliver_to("prod", "a.zip", version="1")
    driver.deliver_to("prod", "b.zip", version="1")
    lost, done = driver.claimed("w1"), driver.claimed("w1")
    driver.finish(done)
    driver.later(seconds=31)
    new = driver.claimed("w2")
    assert ledger.queue.renew([lost, done, new], LEASE, driver.now) == {new.delivery.id}
    assert ledger.queue.renew([lost, done], LEASE, driver.now) == set()
    assert ledger.queue.renew([], LEASE, driver.now) == set()


def test_a_late_finish_writes_nothing(ledger, driver):
    driver.deliver_to("prod", version="1")
    late = driver.claimed("w1")
    driver.later(seconds=31)
    current = driver.claimed("w2")
    message = NewMessage("ops", "import.succeeded", {})
    assert not driver.finish(late, messages=[message])
    assert not ledger.queue.release(late, driver.now)
    assert driver.read(late.delivery.id).state == State.RUNNING
    assert ledger.history.messages(late.delivery.id) == []
    assert [attempt.outcome for attempt in ledger.history.attempts(late.delivery.id)] == [
        "lost",
        None,
    ]
    assert driver.finish(current)


def test_a_finish_after_the_lease_expired_counts_unless_it_was_taken_over(driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    driver.later(hours=1)
    assert driver.finish(claim)


def test_a_second_finish_writes_nothing(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed()
    assert driver.finish(claim)
    assert not driver.finish(claim, Skipped("gone"))
    assert driver.read(claim.delivery.id).state == State.SUCCEEDED


def test_all_claims_of_a_dead_worker_are_reclaimed_at_once(ledger, driver):
    for name in "abc":
        driver.deliver_to("prod", f"{name}.zip", version="1")
    dead, alive = [driver.claimed("dead"), driver.claimed("dead")], driver.claimed("alive")
    assert ledger.queue.owners() == {"dead", "alive"}
    driver.later(seconds=1)
    assert ledger.queue.reclaim("dead", driver.now) == 2
    assert ledger.queue.reclaim("dead", driver.now) == 0
    assert ledger.queue.owners() == {"alive"}
    assert driver.read(dead[0].delivery.id).due == driver.now
    assert [attempt.outcome for attempt in ledger.history.attempts(dead[0].delivery.id)] == ["lost"]
    assert not driver.finish(dead[0])
    assert driver.finish(alive)
    assert driver.claimed("w2")


def test_a_released_delivery_is_due_again_and_the_attempt_does_not_count(ledger, driver):
    driver.deliver_to("prod", version="1")
    claim = driver.claimed("w1")
    driver.later(seconds=5)
    assert ledger.queue.release(claim, driver.now)
    assert [attempt.outcome for attempt in ledger.history.attempts(claim.delivery.id)] == [
        "released"
    ]
    again = driver.claimed("w2")
    assert (again.attempt, again.delivery.attempts) == (1, 2)
