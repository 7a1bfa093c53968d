"""Leases after outages and clock jumps: only leases that really expired are taken over."""

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from relay.config.load import DeliverySettings
from relay.delivery.lease_clock import lease_clock
from relay.delivery.leases import GRACE_INTERVALS, Leases
from relay.delivery.run import ActiveRun
from relay.ledger import LedgerUnavailable, NewNotification, RoutedEvent
from relay.ledger.errors import unavailable
from relay.model import Event, Incoming, Kind, NewDelivery, ObjectRef, Verdict

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
MARGIN_SECONDS = 3


class FakeClock:
    """The wall clock and the monotonic clock."""

    def __init__(self):
        self.now, self.steady = NOW, 1000.0

    def jump(self, seconds):
        self.now += timedelta(seconds=seconds)

    def wait(self, seconds):
        self.jump(seconds)
        self.steady += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = FakeClock()
    for module in ("leases", "clock_watch", "run"):
        monkeypatch.setattr(f"relay.delivery.{module}.monotonic", lambda: clock.steady)
    for module in ("leases", "run"):
        monkeypatch.setattr(f"relay.delivery.{module}.lease_clock", lambda: clock.steady)
    return clock


@pytest.fixture
def make(ledger, clock):
    """make(owner) -> a worker that claims deliveries and renews leases."""

    def make(owner):
        leases = Leases(ledger.queue, DeliverySettings(lease=LEASE), lambda: clock.now)

        def claim():
            with leases.guard_outage():
                now = leases.now()
                return ledger.queue.claim(
                    owner, LEASE, {}, now, kind=Kind.IMPORT, lease_cutoff=leases.cutoff(now)
                )

        def start_run():
            return leases.add(ActiveRun(claim()))

        return SimpleNamespace(leases=leases, claim=claim, start_run=start_run, renew=leases.renew)

    return make


@pytest.fixture
def worker(make):
    return make("one")


@pytest.fixture
def other_worker(make):
    return make("other")


@pytest.fixture(autouse=True)
def delivery(ledger):
    event = Event(ObjectRef("b", "a.zip", etag="e1", size=9), "e1", "Put", NOW)
    new = NewDelivery("r", "prod", {"func_name": "{function}", "package": "default"}, ())
    notification = NewNotification(Incoming("s", b"{}", NOW), Verdict.ACCEPTED, None, ("bare",))
    return ledger.intake.accept(notification, [RoutedEvent(event, (new,))], NOW).deliveries[0]


@contextmanager
def unavailable_database(ledger):
    """Make the database unavailable."""

    def fail(*_, **__):
        raise unavailable("locked", "another process holds it", "被其他进程占用")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("claim", "renew", "shift_due_times"):
            patch.setattr(ledger.queue, name, fail)
        yield


def test_a_run_whose_lease_expired_is_taken_over(worker, other_worker, clock):
    worker.start_run()
    clock.wait(30 + MARGIN_SECONDS - 1)
    assert other_worker.claim() is None, "a margin covers other clocks and what was sent last"
    clock.wait(1)
    assert other_worker.claim().crashes == 1


@pytest.mark.parametrize(("lease", "margin"), [(1, 1), (30, 3), (3600, 10)])
def test_the_margin_is_a_tenth_of_the_lease_within_limits(ledger, lease, margin):
    settings = DeliverySettings(lease=timedelta(seconds=lease))
    leases = Leases(ledger.queue, settings, lambda: NOW)
    leases._grace_until = 0
    assert leases.cutoff(NOW) == NOW - timedelta(seconds=margin)


def test_a_lease_counts_from_before_its_renewal_was_sent(worker, ledger, clock, monkeypatch):
    run, renew = worker.start_run(), ledger.queue.renew

    def renew_slowly(*args):
        clock.wait(7)
        return renew(*args)

    monkeypatch.setattr(ledger.queue, "renew", renew_slowly)
    worker.renew()
    assert run.lease_left() == 23
    clock.wait(22)
    assert run.lease_left() == 1
    clock.wait(2)
    assert run.lease_left() == 0


def test_a_renewal_that_fails_leaves_the_end_of_the_lease(worker, ledger, clock):
    run = worker.start_run()
    worker.renew()
    with unavailable_database(ledger):
        clock.wait(10)
        with pytest.raises(LedgerUnavailable):
            worker.renew()
    assert run.lease_left() == 20


def test_nothing_is_left_of_a_lost_lease(worker, other_worker, clock):
    run = worker.start_run()
    worker.renew()
    run.lost = True
    assert run.lease_left() == 0


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the clock exists on Linux only")
def test_the_lease_clock_counts_suspended_time(monkeypatch):
    clocks = {time.CLOCK_BOOTTIME: 5000.0}
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    assert lease_clock() == 5000.0


def test_own_leases_are_renewed_before_a_claim(worker, clock):
    run = worker.start_run()
    clock.wait(31)  # an outage of the database, or this process was suspended
    assert worker.claim() is None
    assert not run.lost


def test_nothing_is_claimed_while_own_leases_cannot_be_renewed(worker, ledger, clock):
    worker.start_run()
    clock.wait(31)
    with unavailable_database(ledger), pytest.raises(LedgerUnavailable):
        worker.claim()
    assert worker.claim() is None


def test_after_an_outage_other_workers_get_time_to_renew(worker, other_worker, ledger, clock):
    run = worker.start_run()
    with unavailable_database(ledger):
        for call in (worker.renew, other_worker.claim):
            with pytest.raises(LedgerUnavailable):
                call()
        clock.wait(29)
        with pytest.raises(LedgerUnavailable):
            other_worker.claim()
    clock.wait(3)
    assert other_worker.claim() is None, "the lease expired during the outage"
    worker.renew()
    clock.wait(GRACE_INTERVALS * other_worker.leases.interval)
    assert other_worker.claim() is None
    assert not run.lost


def test_after_an_outage_a_worker_that_does_not_return_is_taken_over(
    worker, other_worker, ledger, clock
):
    worker.start_run()
    with unavailable_database(ledger), pytest.raises(LedgerUnavailable):
        other_worker.claim()
    clock.wait(30 + MARGIN_SECONDS)
    with unavailable_database(ledger), pytest.raises(LedgerUnavailable):
        other_worker.claim()
    clock.wait(GRACE_INTERVALS * other_worker.leases.interval - 1)
    assert other_worker.claim() is None
    clock.wait(1)
    assert other_worker.claim().crashes == 1


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_clock_jump_takes_nothing_from_a_running_worker(worker, other_worker, clock, jump):
    run = worker.start_run()
    clock.jump(jump)
    assert other_worker.claim() is None
    worker.renew()
    for _ in range(10):
        clock.wait(other_worker.leases.interval)
        worker.renew()
        assert other_worker.claim() is None
    assert not run.lost


def test_after_a_clock_jump_a_crashed_worker_is_taken_over(worker, other_worker, clock):
    worker.start_run()
    clock.jump(3600)
    assert other_worker.claim() is None
    clock.wait(GRACE_INTERVALS * other_worker.leases.interval)
    assert other_worker.claim().crashes == 1


def test_the_claims_of_a_worker_known_to_have_crashed_are_free_at_once(
    worker, other_worker, ledger, clock
):
    worker.start_run()
    clock.jump(3600)
    assert other_worker.claim() is None
    assert ledger.queue.reclaim("one", clock.now) == 1
    assert other_worker.claim().crashes == 1


def test_a_run_whose_lease_went_to_another_worker_is_lost(worker, other_worker, clock):
    run = worker.start_run()
    clock.wait(30 + MARGIN_SECONDS)
    assert other_worker.claim() is not None
    worker.renew()
    assert run.lost
