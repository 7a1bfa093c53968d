"""What holds a due delivery back: limits, holds, and another import of its object."""

from __future__ import annotations

import pytest

from relay.model import Kind, State
from relay.store import DeliveryQuery

PENDING = DeliveryQuery(state=State.PENDING)
IMPORT_ONE = {(Kind.IMPORT, "prod"): 1}


class TestLimits:
    def test_no_more_than_the_limit_run_at_once(self, hands):
        for name in "abc":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        limits = {(Kind.IMPORT, "prod"): 2}
        first = hands.claimed(limits=limits)
        hands.claimed(limits=limits)
        assert hands.claim(limits=limits) is None
        hands.finish(first)
        hands.claimed(limits=limits)

    def test_a_full_destination_does_not_stop_the_others(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.later(seconds=1)
        other = hands.deliver_to("test", "c.zip", version="1")
        hands.claimed(limits=IMPORT_ONE)
        assert hands.claimed(limits=IMPORT_ONE).delivery.id == other.id

    def test_an_ended_lease_does_not_count_against_the_limit(self, hands):
        hands.deliver_to("prod", version="1")
        hands.claimed("w1", limits=IMPORT_ONE)
        hands.later(seconds=31)
        assert hands.claimed("w2", limits=IMPORT_ONE).attempt == 2

    def test_an_ended_lease_at_a_full_destination_waits(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.claimed("w1")
        hands.later(seconds=31)
        # The other one starts; nobody has taken over the first one yet.
        other = hands.claimed("w2", only=hands.store.deliveries(PENDING).items[0].id)
        assert hands.claim("w2", limits=IMPORT_ONE) is None
        hands.finish(other)
        assert hands.claimed("w2", limits=IMPORT_ONE).attempt == 2

    def test_limits_of_imports_are_not_those_of_messages(self, hands):
        hands.done()
        hands.deliver_to("ops", "b.zip", version="1")
        limits = {(Kind.IMPORT, "ops"): 0}
        assert hands.claimed(limits=limits).delivery.kind == Kind.MESSAGE
        assert hands.claim(limits=limits) is None


class TestHolds:
    def test_a_hold_stops_its_destination_until_then(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.deliver_to("test", "c.zip", version="1")
        hands.retry(hands.claimed(limits={(Kind.IMPORT, "test"): 0}), seconds=60, hold=True)
        other = hands.claimed()
        assert other.delivery.destination == "test"
        hands.finish(other)
        hands.later(seconds=59)
        assert hands.claim() is None
        hands.later(seconds=1)
        assert hands.claimed().delivery.destination == "prod"

    def test_a_shorter_hold_does_not_end_a_longer_one(self, hands):
        for name in "abc":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        first, second = hands.claimed(), hands.claimed()
        hands.retry(first, seconds=60, hold=True)
        hands.retry(second, seconds=10, hold=True)
        hands.later(seconds=30)
        assert hands.claim() is None

    def test_a_longer_hold_lengthens_a_shorter_one(self, hands):
        for name in "abc":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        first, second = hands.claimed(), hands.claimed()
        hands.retry(first, seconds=10, hold=True)
        hands.retry(second, seconds=60, hold=True)
        hands.later(seconds=30)
        assert hands.claim() is None

    def test_a_retry_without_hold_stops_nobody_else(self, hands):
        hands.deliver_to("prod", "a.zip", version="1")
        hands.deliver_to("prod", "b.zip", version="1")
        hands.retry(hands.claimed(), seconds=60)
        hands.claimed()


class TestOneObject:
    """Imports of one object by one route run one after the other."""

    def test_its_versions_never_run_at_once(self, hands):
        hands.deliver_to("prod", version="1")
        hands.deliver_to("prod", version="2")
        first = hands.claimed()
        assert hands.claim() is None
        hands.finish(first)
        assert hands.claimed().delivery.id != first.delivery.id

    @pytest.mark.parametrize("other", [{"key": "b.zip"}, {"bucket": "b"}, {"route": "r2"}])
    def test_other_objects_and_routes_run_beside_it(self, hands, other):
        hands.deliver_to("prod", version="1")
        hands.deliver_to("prod", **{"version": "2", **other})
        hands.claimed()
        hands.claimed()

    def test_the_same_object_of_another_source_runs_beside_it(self, hands):
        hands.accept(hands.event(version="1"), source="one")
        hands.accept(hands.event(version="1"), source="two")
        hands.claimed()
        hands.claimed()

    def test_two_ended_leases_do_not_block_each_other_for_ever(self, hands):
        hands.deliver_to("prod", version="1")
        hands.claimed("w1")
        hands.later(seconds=31)
        hands.deliver_to("prod", version="2")
        second = hands.store.deliveries(PENDING).items[0]
        hands.claimed("w1", only=second.id)
        hands.later(seconds=31)
        hands.finish(hands.claimed("w2"))
        hands.claimed("w2")

    def test_its_messages_run_beside_its_import(self, hands):
        hands.done()
        hands.deliver_to("prod", version="2")
        kinds = {hands.claimed().delivery.kind, hands.claimed().delivery.kind}
        assert kinds == {Kind.IMPORT, Kind.MESSAGE}
