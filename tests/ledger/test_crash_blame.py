"""Who is blamed for the death of a worker: what it had in hand, unless workers die anyway."""

from types import SimpleNamespace

import pytest

from relay.delivery.run import MAX_CRASHES, MAX_CRASHES_ELSEWHERE, park_problem, should_park
from relay.model import Failed
from tests.ledger.conftest import LEASE


def lost(driver, owner, *keys):
    """A worker dies with the deliveries of these objects in hand; each as it was claimed."""
    claims = {claim.delivery.key: claim for claim in (driver.claimed(owner) for _ in keys)}
    assert set(claims) == set(keys)
    driver.later(seconds=1)
    assert driver.ledger.queue.reclaim(owner, driver.now) == len(keys)
    return claims


def upload(driver, *keys):
    for key in keys:
        driver.later(seconds=1)  # so that they are claimed in this order
        driver.deliver_to("prod", key, version="1")


def done(driver, key):
    claim = driver.claimed("well")
    assert claim.delivery.key == key
    assert driver.finish(claim)


def test_who_was_beside_it_when_it_killed_a_worker_does_not_clear_it(driver):
    upload(driver, "poison", "good")
    lost(driver, "w1", "poison", "good")
    again = driver.claimed("w2")
    assert (again.delivery.key, again.crashes, again.unlucky) == ("poison", 1, False)
    done(driver, "good")
    driver.ledger.queue.reclaim("w2", driver.later(seconds=1))
    again = driver.claimed("w3")
    assert (again.crashes, again.unlucky) == (2, False)


def test_a_death_without_it_clears_it_once_what_was_in_hand_ended_well(driver):
    upload(driver, "other")
    lost(driver, "w1", "other")
    upload(driver, "long")
    done(driver, "other")
    lost(driver, "w1", "long")
    assert driver.claimed("w2").unlucky


def test_another_that_kills_its_workers_too_does_not_clear_it(driver):
    upload(driver, "poison a")
    lost(driver, "w1", "poison a")
    assert not driver.claimed("w1").unlucky
    upload(driver, "poison b")
    assert driver.claimed("w2").delivery.key == "poison b"
    driver.ledger.queue.reclaim("w2", driver.later(seconds=1))
    assert not driver.claimed("w2").unlucky
    driver.ledger.queue.reclaim("w1", driver.later(seconds=1))
    assert not driver.claimed("w1").unlucky


def test_another_that_was_parked_for_it_does_not_clear_it(driver):
    upload(driver, "poison a", "poison b")
    assert driver.claimed("w1").delivery.key == "poison a"
    lost(driver, "w2", "poison b")
    claim = driver.claimed("w3")
    assert claim.delivery.key == "poison b"
    assert driver.finish(claim, Failed(park_problem(3)))
    driver.ledger.queue.reclaim("w1", driver.later(seconds=1))
    assert not driver.claimed("w4").unlucky


def test_deaths_of_long_ago_clear_nobody(driver):
    upload(driver, "other")
    lost(driver, "w1", "other")
    done(driver, "other")
    driver.later(hours=2)
    upload(driver, "long")
    lost(driver, "w1", "long")
    assert not driver.claimed("w2").unlucky


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


def test_what_hung_is_due_at_once_and_was_no_death_of_its_worker(driver):
    upload(driver, "a.zip")
    stuck = driver.claimed("w1")
    driver.later(minutes=15)
    driver.ledger.queue.renew([stuck], LEASE, driver.now)
    assert driver.ledger.outcomes.release_hung(stuck, driver.now)
    assert not driver.finish(stuck)
    assert not driver.ledger.outcomes.release_hung(stuck, driver.now)
    assert [one.outcome for one in driver.ledger.history.attempts(stuck.delivery.id)] == ["hung"]
    again = driver.claimed("w1")
    assert (again.hangs, again.crashes, again.attempt) == (1, 0, 2)
    assert again.earlier, "it may have reached the destination"
    driver.ledger.queue.reclaim("w1", driver.later(seconds=1))
    assert driver.ledger.outcomes.release_hung(driver.claimed("w1"), driver.now)
    mixed = driver.claimed("w1")
    assert (mixed.hangs, mixed.crashes) == (2, 1)
    driver.retry(mixed, seconds=1)
    driver.later(seconds=1)
    once_more = driver.claimed("w1")
    assert (once_more.hangs, once_more.crashes) == (0, 0)
