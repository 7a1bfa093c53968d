"""Who is blamed for the death of a worker: what it had in hand, unless workers die anyway."""

from types import SimpleNamespace

import pytest

from relay.delivery.run import MAX_CRASHES, MAX_CRASHES_ELSEWHERE, park_problem, should_park
from relay.model import Failed
from tests.ledger.conftest import LEASE


def lost(hands, owner, *keys):
    """A worker dies with the deliveries of these objects in hand; each as it was claimed."""
    claims = {claim.delivery.key: claim for claim in (hands.claimed(owner) for _ in keys)}
    assert set(claims) == set(keys)
    hands.later(seconds=1)
    assert hands.ledger.queue.reclaim(owner, hands.now) == len(keys)
    return claims


def upload(hands, *keys):
    for key in keys:
        hands.later(seconds=1)  # so that they are claimed in this order
        hands.deliver_to("prod", key, version="1")


def done(hands, key):
    claim = hands.claimed("well")
    assert claim.delivery.key == key
    assert hands.finish(claim)


def test_who_was_beside_it_when_it_killed_a_worker_does_not_clear_it(hands):
    upload(hands, "poison", "good")
    lost(hands, "w1", "poison", "good")
    again = hands.claimed("w2")
    assert (again.delivery.key, again.crashes, again.unlucky) == ("poison", 1, False)
    done(hands, "good")
    hands.ledger.queue.reclaim("w2", hands.later(seconds=1))
    again = hands.claimed("w3")
    assert (again.crashes, again.unlucky) == (2, False)


def test_a_death_without_it_clears_it_once_what_was_in_hand_ended_well(hands):
    upload(hands, "other")
    lost(hands, "w1", "other")
    upload(hands, "long")
    done(hands, "other")
    lost(hands, "w1", "long")
    assert hands.claimed("w2").unlucky


def test_another_that_kills_its_workers_too_does_not_clear_it(hands):
    upload(hands, "poison a")
    lost(hands, "w1", "poison a")
    assert not hands.claimed("w1").unlucky
    upload(hands, "poison b")
    assert hands.claimed("w2").delivery.key == "poison b"
    hands.ledger.queue.reclaim("w2", hands.later(seconds=1))
    assert not hands.claimed("w2").unlucky
    hands.ledger.queue.reclaim("w1", hands.later(seconds=1))
    assert not hands.claimed("w1").unlucky


def test_another_that_was_parked_for_it_does_not_clear_it(hands):
    upload(hands, "poison a", "poison b")
    assert hands.claimed("w1").delivery.key == "poison a"
    lost(hands, "w2", "poison b")
    claim = hands.claimed("w3")
    assert claim.delivery.key == "poison b"
    assert hands.finish(claim, Failed(park_problem(3)))
    hands.ledger.queue.reclaim("w1", hands.later(seconds=1))
    assert not hands.claimed("w4").unlucky


def test_deaths_of_long_ago_clear_nobody(hands):
    upload(hands, "other")
    lost(hands, "w1", "other")
    done(hands, "other")
    hands.later(hours=2)
    upload(hands, "long")
    lost(hands, "w1", "long")
    assert not hands.claimed("w2").unlucky


@pytest.mark.parametrize(
    ("crashes", "hangs", "unlucky", "poison"),
    [
        (MAX_CRASHES - 1, 0, False, False),
        (MAX_CRASHES, 0, False, True),
        (MAX_CRASHES, 0, True, False),
        (MAX_CRASHES_ELSEWHERE, 0, True, True),
        (0, MAX_CRASHES - 1, False, False),
        (0, MAX_CRASHES, True, True),
        (MAX_CRASHES - 1, 1, False, True),
    ],
)
def test_the_unlucky_are_tried_more_often_and_what_hangs_is_not(crashes, hangs, unlucky, poison):
    claim = SimpleNamespace(crashes=crashes, hangs=hangs, unlucky=unlucky)
    assert should_park(claim) is poison


@pytest.mark.parametrize(
    ("crashes", "hangs", "en", "zh"),
    [
        (3, 0, "The worker crashed 3 times in a row", "工作进程连续 3 次异常退出"),
        (0, 3, "The delivery hung 3 times in a row: ", "连续挂起 3 次："),
        (
            1,
            2,
            "The delivery hung or crashed its worker 3 times in a row: ",
            "连续 3 次挂起或工作进程异常退出：",
        ),
    ],
)
def test_it_is_told_what_happened_to_it(crashes, hangs, en, zh):
    told = park_problem(crashes, hangs).message
    assert told.en.startswith(en)
    assert zh in told.zh


def test_what_hung_is_due_at_once_and_was_no_death_of_its_worker(hands):
    upload(hands, "a.zip")
    stuck = hands.claimed("w1")
    hands.later(minutes=15)
    hands.ledger.queue.renew([stuck], LEASE, hands.now)
    assert hands.ledger.outcomes.release_hung(stuck, hands.now)
    assert not hands.finish(stuck)
    assert not hands.ledger.outcomes.release_hung(stuck, hands.now)
    assert [one.outcome for one in hands.ledger.history.attempts(stuck.delivery.id)] == ["hung"]
    again = hands.claimed("w1")
    assert (again.hangs, again.crashes, again.attempt) == (1, 0, 2)
    assert again.earlier, "it may have reached the destination"
    hands.ledger.queue.reclaim("w1", hands.later(seconds=1))
    assert hands.ledger.outcomes.release_hung(hands.claimed("w1"), hands.now)
    mixed = hands.claimed("w1")
    assert (mixed.hangs, mixed.crashes) == (2, 1)
    hands.retry(mixed, seconds=1)
    hands.later(seconds=1)
    once_more = hands.claimed("w1")
    assert (once_more.hangs, once_more.crashes) == (0, 0)
