"""Who is blamed for the death of a worker: what it had in hand, unless workers die anyway."""

from types import SimpleNamespace

import pytest

from relay.model import Failed
from relay.runs import CRASHES, CRASHES_OF_THE_UNLUCKY, crashed, is_poison


def lost(hands, owner, *keys):
    """A worker dies with the deliveries of these objects in hand; each as it was claimed."""
    claims = {claim.delivery.key: claim for claim in (hands.claimed(owner) for _ in keys)}
    assert set(claims) == set(keys)
    hands.later(seconds=1)
    assert hands.store.reclaim(owner, hands.now) == len(keys)
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
    hands.store.reclaim("w2", hands.later(seconds=1))
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
    hands.store.reclaim("w2", hands.later(seconds=1))
    assert not hands.claimed("w2").unlucky
    hands.store.reclaim("w1", hands.later(seconds=1))
    assert not hands.claimed("w1").unlucky


def test_another_that_was_parked_for_it_does_not_clear_it(hands):
    upload(hands, "poison a", "poison b")
    assert hands.claimed("w1").delivery.key == "poison a"
    lost(hands, "w2", "poison b")
    claim = hands.claimed("w3")
    assert claim.delivery.key == "poison b"
    assert hands.finish(claim, Failed(crashed(3)))
    hands.store.reclaim("w1", hands.later(seconds=1))
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
    ("crashes", "unlucky", "poison"),
    [
        (CRASHES - 1, False, False),
        (CRASHES, False, True),
        (CRASHES, True, False),
        (CRASHES_OF_THE_UNLUCKY, True, True),
    ],
)
def test_the_unlucky_are_tried_more_often(crashes, unlucky, poison):
    assert is_poison(SimpleNamespace(crashes=crashes, unlucky=unlucky)) is poison
