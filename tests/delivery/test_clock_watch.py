"""A clock jump is detected once: leases are renewed, and due times move after a jump back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.delivery.clock_watch import ClockWatch
from relay.ledger import LedgerUnavailable
from relay.ledger.errors import unavailable
from relay.model import utc_now


class FakeClock:
    """The real clock with an offset that tests set."""

    def __init__(self):
        self.offset = timedelta(0)

    def __call__(self):
        return utc_now() + self.offset


class FakeQueue:
    """Records by how many seconds due times are shifted."""

    def __init__(self):
        self.shifts = []
        self.is_unavailable = False

    def shift_due_times(self, by, now):
        if self.is_unavailable:
            raise unavailable("locked", "locked", "locked")
        self.shifts.append(round(by.total_seconds()))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def queue():
    return FakeQueue()


@pytest.fixture
def renewals():
    return []


@pytest.fixture
def check(clock, queue, renewals):
    watch = ClockWatch(queue, clock)
    return lambda: watch.check(lambda: renewals.append(True))


def test_a_steady_clock_changes_nothing(check, queue, renewals):
    check()
    assert (queue.shifts, renewals) == ([], [])


def test_a_jump_back_shifts_due_times_and_renews_leases_once(check, clock, queue, renewals):
    clock.offset = timedelta(hours=-24)
    check()
    check()
    assert (queue.shifts, renewals) == ([86_400], [True])


def test_a_jump_forward_only_renews_leases(check, clock, queue, renewals):
    clock.offset = timedelta(hours=1)
    check()
    assert (queue.shifts, renewals) == ([], [True])


def test_a_jump_that_could_not_be_recorded_is_detected_again(check, clock, queue):
    clock.offset = timedelta(hours=-1)
    queue.is_unavailable = True
    with pytest.raises(LedgerUnavailable):
        check()
    queue.is_unavailable = False
    check()
    assert queue.shifts == [3600]
