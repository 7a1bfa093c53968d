"""Tests of worker crashes: which deliveries count as the possible cause."""

from types import SimpleNamespace

import pytest

from relay.delivery.run import MAX_CRASHES, MAX_CRASHES_ELSEWHERE, park_problem, should_park
from relay.model import Failed
from tests.ledger.conftest import LEASE


def crash(driver, owner, *keys):
    """Crash a worker that runs the deliveries of these objects. Returns the claims."""
    claims = {claim.delivery.key: claim for claim in (driver.claimed(owner) for _ in keys)}
    assert set(claims) == set(keys)
    driver.later(seconds=1)
    assert driver.ledger.queue.reclaim(owner, driver.now) == len(keys)
    return claims


def upload(driver, *keys):
    for key in keys:
        driver.later(seconds=1)  # so that they are claimed in this order
        driver.deliver_to("prod", key, version="1")


def succeed(driver, key):
    claim = driver.claimed("well")
    assert claim.delivery.key == key
    assert driver.finish(claim)


def test_a_delivery_lost_in_the_same_crash_does_not_prove_bad_luck(driver):
    upload(driver, "poison", "good")
    crash(driver, "w1", "poison", "good")
    again = driver.claimed("w2")
    assert (again.delivery.key, again.crashes, again.crashed_elsewhere) == ("poison", 1, False)
    succeed(driver, "good")
    driver.ledger.queue.reclaim("w2", driver.later(seconds=1))
    again = driver.claimed("w3")
    assert (again.crashes, again.crashed_elsewhere) == (2, False)


def test_an_unrelated_crash_whose_deliveries_ended_well_proves_bad_luck(driver):
    upload(driver, "other")
    crash(driver, "w1", "other")
    upload(driver, "long")
    succeed(driver, "other")
    crash(driver, "w1", "long")
    assert driver.claimed("w2").crashed_elsewhere


def test_another_delivery_that_crashes_workers_does_not_prove_bad_luck(driver):
    upload(driver, "poison a")
    crash(driver, "w1", "poison a")
    assert not driver.claimed("w1").crashed_elsewhere
    upload(driver, "poison b")
    assert driver.claimed("w2").delivery.key == "poison b"
    driver.ledger.queue.reclaim("w2", driver.later(seconds=1))
    assert not driver.claimed("w2").crashed_elsewhere
    driver.ledger.queue.reclaim("w1", driver.later(seconds=1))
    assert not driver.claimed("w1").crashed_elsewhere


def test_another_delivery_that_was_parked_does_not_prove_bad_luck(driver):
    upload(driver, "poison a", "poison b")
    assert driver.claimed("w1").delivery.key == "poison a"
    crash(driver, "w2", "poison b")
    claim = driver.claimed("w3")
    assert claim.delivery.key == "poison b"
    assert driver.finish(claim, Failed(park_problem(3)))
    driver.ledger.queue.reclaim("w1", driver.later(seconds=1))
    assert not driver.claimed("w4").crashed_elsewhere


def test_old_crashes_do_not_prove_bad_luck(driver):
    upload(driver, "other")
    crash(driver, "w1", "other")
    succeed(driver, "other")
    driver.later(hours=2)
    upload(driver, "long")
    crash(driver, "w1", "long")
    assert not driver.claimed("w2").crashed_elsewhere


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
def test_unlucky_deliveries_get_more_attempts_and_hanging_ones_do_not(
    crashes, hangs, unlucky, poison
):
    claim = SimpleNamespace(crashes=crashes, hangs=hangs, crashed_elsewhere=unlucky)
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
def test_a_parked_delivery_says_what_happened(crashes, hangs, en, zh):
    message = park_problem(crashes, hangs).message
    assert message.en.startswith(en)
    assert zh in message.zh


def test_a_hung_delivery_is_due_at_once_and_does_not_count_as_a_crash(driver):
    upload(driver, "a.zip")
    stuck = driver.claimed("w1")
    driver.later(minutes=15)
    driver.ledger.queue.renew([stuck], LEASE, driver.now)
    assert driver.ledger.queue.release(stuck, driver.now, hung=True)
    assert not driver.finish(stuck)
    assert not driver.ledger.queue.release(stuck, driver.now, hung=True)
    assert [attempt.outcome for attempt in driver.ledger.history.attempts(stuck.delivery.id)] == [
        "hung"
    ]
    again = driver.claimed("w1")
    assert (again.hangs, again.crashes, again.attempt) == (1, 0, 2)
    driver.ledger.queue.reclaim("w1", driver.later(seconds=1))
    assert driver.ledger.queue.release(driver.claimed("w1"), driver.now, hung=True)
    mixed = driver.claimed("w1")
    assert (mixed.hangs, mixed.crashes) == (2, 1)
    driver.retry(mixed, seconds=1)
    driver.later(seconds=1)
    once_more = driver.claimed("w1")
    assert (once_more.hangs, once_more.crashes) == (0, 0)
