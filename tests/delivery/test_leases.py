"""Leases when nobody could renew them: what only seems over is taken over by nobody."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from relay.config.load import DeliverySettings
from relay.delivery.leases import GRACE_INTERVALS, Leases
from relay.delivery.run import ActiveRun
from relay.ledger import LedgerUnavailable, NewNotification, RoutedEvent
from relay.ledger.errors import unavailable
from relay.model import Event, Incoming, Kind, NewDelivery, ObjectRef, Verdict

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)


class Hands:
    """The clock, and the steady one that nobody can turn."""

    def __init__(self):
        self.now, self.steady = NOW, 1000.0

    def turn(self, seconds):
        self.now += timedelta(seconds=seconds)

    def wait(self, seconds):
        self.turn(seconds)
        self.steady += seconds


@pytest.fixture
def hands(monkeypatch):
    hands = Hands()
    for module in ("leases", "clock_watch", "run"):
        monkeypatch.setattr(f"relay.delivery.{module}.monotonic", lambda: hands.steady)
    return hands


@pytest.fixture
def make(ledger, hands):
    """make(owner) -> a process that claims and renews, as far as that goes here."""

    def make(owner):
        leases = Leases(
            ledger.queue, ledger.outcomes, DeliverySettings(lease=LEASE), lambda: hands.now
        )

        def claim():
            with leases.guard_outage():
                now = leases.now()
                return ledger.queue.claim(
                    owner, LEASE, {}, now, kind=Kind.IMPORT, lease_cutoff=leases.cutoff(now)
                )

        def work():
            return leases.add(ActiveRun(claim()))

        return SimpleNamespace(leases=leases, claim=claim, work=work, renew=leases.renew)

    return make


@pytest.fixture
def one(make):
    return make("one")


@pytest.fixture
def other(make):
    return make("other")


@pytest.fixture(autouse=True)
def delivery(ledger):
    event = Event(ObjectRef("b", "a.zip", etag="e1", size=9), "e1", "Put", NOW)
    new = NewDelivery("r", "prod", {"func_name": "{function}", "package": "default"}, ())
    notification = NewNotification(Incoming("s", b"{}", NOW), Verdict.ACCEPTED, None, ("bare",))
    return ledger.intake.accept(notification, [RoutedEvent(event, (new,))], NOW).deliveries[0]


@contextmanager
def away(ledger):
    """The ledger is away."""

    def fail(*_, **__):
        raise unavailable("locked", "another process holds it", "被其他进程占用")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("claim", "renew", "shift_due_times"):
            patch.setattr(ledger.queue, name, fail)
        yield


def test_what_shows_no_sign_of_life_is_taken_over(one, other, hands):
    one.work()
    hands.wait(29)
    assert other.claim() is None
    hands.wait(2)
    assert other.claim().crashes == 1


def test_our_own_is_renewed_before_anything_is_claimed(one, hands):
    run = one.work()
    hands.wait(31)  # since the last heartbeat: the ledger was away, or this process stood still
    assert one.claim() is None
    assert not run.lost


def test_nothing_is_claimed_while_our_own_cannot_be_renewed(one, ledger, hands):
    one.work()
    hands.wait(31)
    with away(ledger), pytest.raises(LedgerUnavailable):
        one.claim()
    assert one.claim() is None


def test_after_an_outage_the_others_may_renew_first(one, other, ledger, hands):
    run = one.work()
    with away(ledger):
        for each in (one.renew, other.claim):
            with pytest.raises(LedgerUnavailable):
                each()
        hands.wait(29)
        with pytest.raises(LedgerUnavailable):
            other.claim()
    hands.wait(3)
    assert other.claim() is None, "its lease ended while nobody could renew it"
    one.renew()
    hands.wait(GRACE_INTERVALS * other.leases.interval)
    assert other.claim() is None
    assert not run.lost


def test_after_an_outage_who_does_not_come_back_is_taken_over(one, other, ledger, hands):
    one.work()
    with away(ledger), pytest.raises(LedgerUnavailable):
        other.claim()
    hands.wait(31)
    with away(ledger), pytest.raises(LedgerUnavailable):
        other.claim()
    hands.wait(GRACE_INTERVALS * other.leases.interval - 1)
    assert other.claim() is None
    hands.wait(1)
    assert other.claim().crashes == 1


@pytest.mark.parametrize("turn", [3600, -3600])
def test_a_turned_clock_takes_nothing_from_the_living(one, other, hands, turn):
    run = one.work()
    hands.turn(turn)
    assert other.claim() is None
    one.renew()
    for _ in range(10):
        hands.wait(other.leases.interval)
        one.renew()
        assert other.claim() is None
    assert not run.lost


def test_a_turned_clock_does_not_save_the_dead(one, other, hands):
    one.work()
    hands.turn(3600)
    assert other.claim() is None
    hands.wait(GRACE_INTERVALS * other.leases.interval)
    assert other.claim().crashes == 1


def test_a_known_death_is_not_waited_for(one, other, ledger, hands):
    one.work()
    hands.turn(3600)
    assert other.claim() is None
    assert ledger.queue.reclaim("one", hands.now) == 1
    assert other.claim().crashes == 1
