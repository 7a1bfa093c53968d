"""That the clock was turned is seen, and what waits is set right; once for each turn."""

from __future__ import annotations

from datetime import timedelta

import pytest

from relay.delivery.clock_watch import ClockWatch
from relay.ledger import LedgerUnavailable
from relay.ledger.errors import unavailable
from relay.model import utc_now


class Clock:
    """The real one, turned by hand."""

    def __init__(self):
        self.wrong_by = timedelta(0)

    def __call__(self):
        return utc_now() + self.wrong_by


class Queue:
    def __init__(self):
        self.turned = []
        self.is_away = False

    def shift_due_times(self, by, now):
        if self.is_away:
            raise unavailable("locked", "locked", "locked")
        self.turned.append(round(by.total_seconds()))


@pytest.fixture
def seen():
    clock, queue, renewed = Clock(), Queue(), []
    return clock, queue, ClockWatch(queue, clock), renewed


def mind(seen):
    _, _, watch, renewed = seen
    watch.check(lambda: renewed.append(True))


def test_a_clock_that_runs_on_changes_nothing(seen):
    mind(seen)
    assert (seen[1].turned, seen[3]) == ([], [])


def test_a_turn_back_moves_what_waits_and_renews_leases_once(seen):
    seen[0].wrong_by = timedelta(hours=-24)
    mind(seen)
    mind(seen)
    assert (seen[1].turned, seen[3]) == ([86_400], [True])


def test_a_turn_forward_only_renews_leases(seen):
    seen[0].wrong_by = timedelta(hours=1)
    mind(seen)
    assert (seen[1].turned, seen[3]) == ([], [True])


def test_a_turn_that_could_not_be_written_is_seen_again(seen):
    seen[0].wrong_by = timedelta(hours=-1)
    seen[1].is_away = True
    with pytest.raises(LedgerUnavailable):
        mind(seen)
    seen[1].is_away = False
    mind(seen)
    assert seen[1].turned == [3600]
