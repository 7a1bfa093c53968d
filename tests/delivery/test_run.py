"""Seats of deliveries under way: given back once, and all of them to one that may be harmful."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from relay.delivery.run import ActiveRun, LeaseLost

CLAIM = SimpleNamespace(delivery=SimpleNamespace(id="d1"), crashes=1)


def free(seats):
    taken = 0
    while seats.acquire(blocking=False):
        taken += 1
    for _ in range(taken):
        seats.release()
    return taken


@pytest.fixture
def seats():
    return threading.Semaphore(4)


def seated(seats):
    assert seats.acquire(timeout=1)
    return ActiveRun(CLAIM, seats)


def test_a_seat_is_given_back_once(seats):
    run = seated(seats)
    run.leave()
    run.leave()
    assert (free(seats), run.over.is_set()) == (4, True)


def test_one_that_runs_alone_holds_all_seats_until_it_leaves(seats):
    run = seated(seats)
    run.alone(3)
    assert free(seats) == 0
    run.leave()
    assert free(seats) == 4


def test_it_waits_for_those_that_run(seats):
    other, run = seated(seats), seated(seats)
    waiting = threading.Thread(target=run.alone, args=(3,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    other.leave()
    waiting.join(5)
    assert not waiting.is_alive()
    assert free(seats) == 0


def test_one_that_lost_its_lease_while_it_waited_gives_up(seats):
    seated(seats)
    run = seated(seats)
    run.lost = True
    with pytest.raises(LeaseLost):
        run.alone(3)
    run.leave()
    assert free(seats) == 3


def test_without_seats_there_is_nobody_to_wait_for():
    ActiveRun(CLAIM).alone(3)
