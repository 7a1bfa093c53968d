"""Leases, their end, and the fence that a late worker cannot get past."""

from __future__ import annotations

from datetime import timedelta

from relay.model import NewMessage, Skipped, State

LEASE = timedelta(seconds=30)


def test_a_lease_that_ended_is_taken_over_and_the_attempt_is_lost(ledger, hands):
    started = hands.now
    hands.deliver_to("prod", version="1")
    old = hands.claimed("w1")
    hands.later(seconds=30)
    new = hands.claimed("w2")
    assert (new.delivery.id, new.owner) == (old.delivery.id, "w2")
    assert (new.fence, new.attempt, new.earlier) == (2, 2, started)
    lost, running = ledger.history.attempts(old.delivery.id)
    assert (lost.outcome, lost.finished, running.outcome) == ("lost", hands.now, None)


def test_a_renewed_lease_lasts(ledger, hands):
    hands.deliver_to("prod", version="1")
    claim = hands.claimed()
    hands.later(seconds=20)
    assert ledger.queue.renew([claim], LEASE, hands.now) == {claim.delivery.id}
    hands.later(seconds=29)
    assert hands.claim("w2") is None


def test_only_what_is_still_ours_is_renewed(ledger, hands):
    hands.deliver_to("prod", "a.zip", version="1")
    hands.deliver_to("prod", "b.zip", version="1")
    lost, done = hands.claimed("w1"), hands.claimed("w1")
    hands.finish(done)
    hands.later(seconds=31)
    new = hands.claimed("w2")
    assert ledger.queue.renew([lost, done, new], LEASE, hands.now) == {new.delivery.id}
    assert ledger.queue.renew([lost, done], LEASE, hands.now) == set()
    assert ledger.queue.renew([], LEASE, hands.now) == set()


def test_a_late_finish_writes_nothing(ledger, hands):
    hands.deliver_to("prod", version="1")
    late = hands.claimed("w1")
    hands.later(seconds=31)
    current = hands.claimed("w2")
    message = NewMessage("ops", "import.succeeded", {})
    assert not hands.finish(late, messages=[message])
    assert not ledger.queue.release(late, hands.now)
    assert hands.read(late.delivery.id).state == State.RUNNING
    assert ledger.history.messages(late.delivery.id) == []
    assert [one.outcome for one in ledger.history.attempts(late.delivery.id)] == ["lost", None]
    assert hands.finish(current)


def test_a_finish_after_the_lease_ended_counts_when_nobody_took_over(hands):
    hands.deliver_to("prod", version="1")
    claim = hands.claimed()
    hands.later(hours=1)
    assert hands.finish(claim)


def test_a_second_finish_writes_nothing(ledger, hands):
    hands.deliver_to("prod", version="1")
    claim = hands.claimed()
    assert hands.finish(claim)
    assert not hands.finish(claim, Skipped("gone"))
    assert hands.read(claim.delivery.id).state == State.SUCCEEDED


def test_a_worker_known_to_be_dead_loses_all_at_once(ledger, hands):
    for name in "abc":
        hands.deliver_to("prod", f"{name}.zip", version="1")
    dead, alive = [hands.claimed("dead"), hands.claimed("dead")], hands.claimed("alive")
    assert ledger.queue.owners() == {"dead", "alive"}
    hands.later(seconds=1)
    assert ledger.queue.reclaim("dead", hands.now) == 2
    assert ledger.queue.reclaim("dead", hands.now) == 0
    assert ledger.queue.owners() == {"alive"}
    assert hands.read(dead[0].delivery.id).due == hands.now
    assert [one.outcome for one in ledger.history.attempts(dead[0].delivery.id)] == ["lost"]
    assert not hands.finish(dead[0])
    assert hands.finish(alive)
    assert hands.claimed("w2").earlier is not None


def test_a_released_delivery_is_due_again_and_the_try_does_not_count(ledger, hands):
    started = hands.now
    hands.deliver_to("prod", version="1")
    claim = hands.claimed("w1")
    hands.later(seconds=5)
    assert ledger.queue.release(claim, hands.now)
    assert [one.outcome for one in ledger.history.attempts(claim.delivery.id)] == ["released"]
    again = hands.claimed("w2")
    assert (again.attempt, again.delivery.attempts) == (1, 2)
    assert again.earlier == started, "the stopped worker may have got through"
