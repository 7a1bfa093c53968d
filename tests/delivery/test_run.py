"""Worker slots of active runs: released once, and all occupied by a run that may be harmful."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from relay.delivery.run import ActiveRun

CLAIM = SimpleNamespace(delivery=SimpleNamespace(id="d1"), crashes=1, lease_end=0.0)


def free_slots(slots):
    free = 0
    while slots.acquire(blocking=False):
        free += 1
    for _ in range(free):
        slots.release()
    return free


@pytest.fixture
def slots():
    return threading.Semaphore(4)


def start_run(slots):
    assert slots.acquire(timeout=1)
    return ActiveRun(CLAIM, slots)


def test_a_slot_is_released_once(slots):
    run = start_run(slots)
    run.release()
    run.release()
    assert (free_slots(slots), run.over.is_set()) == (4, True)


def test_a_run_alone_occupies_all_slots_until_it_is_released(slots):
    run = start_run(slots)
    assert run.acquire_all_slots(3)
    assert free_slots(slots) == 0
    run.release()
    assert free_slots(slots) == 4


def test_a_run_alone_waits_for_other_runs(slots):
    other, run = start_run(slots), start_run(slots)
    waiting = threading.Thread(target=run.acquire_all_slots, args=(3,))
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    other.release()
    waiting.join(5)
    assert not waiting.is_alive()
    assert free_slots(slots) == 0


def test_a_run_that_loses_its_lease_while_it_waits_gives_up(slots):
    start_run(slots)
    run = start_run(slots)
    run.lost = True
    assert not run.acquire_all_slots(3)
    run.release()
    assert free_slots(slots) == 3


def test_a_run_without_slots_does_not_wait():
    assert ActiveRun(CLAIM).acquire_all_slots(3)
