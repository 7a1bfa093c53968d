"""A delivery is tried again by hand."""

from __future__ import annotations

import pytest

from relay.ledger import Conflict, NotFound
from relay.model import Failed, NewDelivery, Skipped, State, Trigger


@pytest.fixture
def failed(hands):
    hands.deliver_to("prod", version="1")
    claim = hands.claimed()
    hands.finish(claim, Failed(hands.problem))
    return hands.read(claim.delivery.id)


def test_a_finished_delivery_is_due_in_a_new_run(ledger, hands, failed):
    hands.later(minutes=5)
    again = ledger.retriggers.retrigger(failed.id, hands.now)
    assert again == hands.read(failed.id)
    assert (again.state, again.due, again.trigger) == (State.PENDING, hands.now, Trigger.MANUAL)
    assert (again.run, again.finished, again.error) == (2, None, None)
    claim = hands.claimed()
    assert (claim.attempt, claim.delivery.attempts) == (1, 2)
    assert ledger.history.attempts(failed.id)[1].trigger == Trigger.MANUAL


def test_what_the_run_before_left_is_cleared(ledger, hands):
    hands.deliver_to("prod", version="1")
    claim = hands.claimed()
    hands.finish(claim, Skipped("gone", {"words": "gone"}))
    again = ledger.retriggers.retrigger(claim.delivery.id, hands.now)
    assert (again.reason, again.result) == (None, None)


def test_options_go_over_its_own(ledger, hands):
    hands.accept(hands.event(version="1"))
    claim = hands.claimed()
    hands.finish(claim)
    again = ledger.retriggers.retrigger(claim.delivery.id, hands.now, options={"package": "p"})
    assert again.options == {"on_conflict": "skip", "package": "p"}
    again = ledger.retriggers.retrigger(
        claim.delivery.id, hands.now, options={"on_conflict": "update"}
    )
    assert again.options == {"on_conflict": "update", "package": "p"}


def test_a_pending_delivery_is_due_at_once_in_the_same_run(ledger, hands):
    hands.deliver_to("prod", version="1")
    claim = hands.claimed()
    hands.retry(claim, seconds=3600)
    again = ledger.retriggers.retrigger(claim.delivery.id, hands.now)
    assert (again.due, again.trigger, again.run) == (hands.now, Trigger.MANUAL, 1)
    assert hands.claimed().attempt == 2


def test_a_running_delivery_is_not_disturbed(ledger, hands):
    hands.deliver_to("prod", version="1")
    claim = hands.claimed()
    with pytest.raises(Conflict, match="running"):
        ledger.retriggers.retrigger(claim.delivery.id, hands.now)
    assert hands.finish(claim)


def test_an_unknown_delivery_is_not_found(ledger, hands):
    with pytest.raises(NotFound, match="no delivery nobody"):
        ledger.retriggers.retrigger("nobody", hands.now)


def test_a_delivery_to_nowhere_cannot_be_tried(ledger, hands):
    nowhere = (NewDelivery("", "", {}, state=State.SKIPPED, reason="no route"),)
    accepted = hands.accept(hands.event(version="1"), deliveries=nowhere)
    with pytest.raises(Conflict, match="no_route"):
        ledger.retriggers.retrigger(accepted.deliveries[0], hands.now)


class TestIdempotencyKey:
    def test_the_same_key_again_does_nothing(self, ledger, hands, failed):
        ledger.retriggers.retrigger(failed.id, hands.now, key="k1")
        claim = hands.claimed()
        assert ledger.retriggers.retrigger(failed.id, hands.now, key="k1").state == State.RUNNING
        hands.finish(claim)
        again = ledger.retriggers.retrigger(failed.id, hands.now, key="k1")
        assert (again.state, again.run) == (State.SUCCEEDED, 2)

    def test_another_key_is_another_wish(self, ledger, hands, failed):
        ledger.retriggers.retrigger(failed.id, hands.now, key="k1")
        hands.finish(hands.claimed())
        assert ledger.retriggers.retrigger(failed.id, hands.now, key="k2").run == 3

    def test_a_key_of_another_delivery_is_refused(self, ledger, hands, failed):
        ledger.retriggers.retrigger(failed.id, hands.now, key="k1")
        other = hands.deliver_to("test", "b.zip", version="1")
        with pytest.raises(Conflict, match="another delivery"):
            ledger.retriggers.retrigger(other.id, hands.now, key="k1")

    def test_a_key_whose_wish_was_refused_can_be_used_again(self, ledger, hands, failed):
        ledger.retriggers.retrigger(failed.id, hands.now)
        claim = hands.claimed()
        with pytest.raises(Conflict):
            ledger.retriggers.retrigger(failed.id, hands.now, key="k1")
        hands.finish(claim)
        assert ledger.retriggers.retrigger(failed.id, hands.now, key="k1").run == 3


def test_who_asked_stays_with_each_attempt_of_the_run(ledger, hands, failed):
    again = ledger.retriggers.retrigger(failed.id, hands.now, by="link in ops from 203.0.113.7")
    claim = hands.claimed()
    hands.finish(claim, Failed(hands.problem))
    assert again.by == claim.delivery.by == "link in ops from 203.0.113.7"
    assert [one.by for one in ledger.history.attempts(failed.id)] == [None, again.by]
    assert ledger.retriggers.retrigger(failed.id, hands.now).by is None


class TestSeen:
    def test_what_was_not_touched_since_it_was_seen_is_tried_again(self, ledger, hands, failed):
        assert (
            ledger.retriggers.retrigger(failed.id, hands.now, expected_attempts=failed.attempts).run
            == 2
        )

    @pytest.mark.parametrize("since", ["pending", "running", "failed again"])
    def test_what_was_tried_since_is_left_alone(self, ledger, hands, failed, since):
        ledger.retriggers.retrigger(failed.id, hands.now, expected_attempts=failed.attempts)
        if since != "pending":
            claim = hands.claimed()
        if since == "failed again":
            hands.finish(claim, Failed(hands.problem))
        before = hands.read(failed.id)
        with pytest.raises(Conflict) as caught:
            ledger.retriggers.retrigger(failed.id, hands.now, expected_attempts=failed.attempts)
        assert caught.value.code == "delivery.tried_since"
        assert hands.read(failed.id) == before
