"""What holds a due delivery back: limits, holds, and another import of its object."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from relay.config.units import RateLimit
from relay.ledger import DeliveryQuery, Ledger, next_due
from relay.model import Failed, Kind, NewMessage, Retry, Skipped, State

PENDING = DeliveryQuery(state=State.PENDING)
IMPORT_ONE = {(Kind.IMPORT, "prod"): 1}
HOUR = timedelta(hours=1)


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
        other = hands.claimed("w2", only=hands.ledger.history.deliveries(PENDING).items[0].id)
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


RATES = {(Kind.IMPORT, "prod"): RateLimit(3, timedelta(minutes=1))}


class TestRate:
    def test_a_whole_allowance_goes_at_once_and_then_one_by_one(self, hands):
        for name in "abcdef":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        for _ in range(3):
            hands.claimed(rates=RATES)
        assert hands.claim(rates=RATES) is None
        hands.later(seconds=19)
        assert hands.claim(rates=RATES) is None
        hands.later(seconds=1)
        hands.claimed(rates=RATES)
        assert hands.claim(rates=RATES) is None

    def test_nothing_is_saved_up_beyond_one_allowance(self, hands):
        for name in "abcdef":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        hands.claimed(rates=RATES)
        hands.later(hours=1)
        for _ in range(3):
            hands.claimed(rates=RATES)
        assert hands.claim(rates=RATES) is None

    def test_another_destination_is_not_counted(self, hands):
        for name in "abcd":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        hands.later(seconds=1)
        other = hands.deliver_to("test", "t.zip", version="1")
        for _ in range(3):
            hands.claimed(rates=RATES)
        assert hands.claimed(rates=RATES).delivery.id == other.id


class TestDown:
    """After ten failures in a row a destination is down: one tries, the others wait."""

    @pytest.fixture
    def many(self, hands):
        for number in range(14):
            hands.deliver_to("prod", f"{number}.zip", version="1")
        return hands

    def fail(self, hands, claim, turns):
        due = hands.now + timedelta(seconds=1)
        outcome = Retry(hands.problem, unwell=True)
        assert hands.finish(claim, outcome, due=due, destination_messages=turns)

    def told(self, words):
        def turns(word):
            words.append(word)
            return [NewMessage("ops", f"target.{word}", {"target": "prod"})]

        return turns

    def messages(self, hands):
        found = hands.ledger.history.deliveries(DeliveryQuery(kind=Kind.MESSAGE)).items
        return sorted(one.message["type"] for one in found)

    def test_it_goes_down_once_is_probed_and_comes_up_once(self, many):
        words = []
        turns = self.told(words)
        for claim in [many.claimed(kind=Kind.IMPORT) for _ in range(12)]:
            self.fail(many, claim, turns)
        assert words == ["down"]
        assert self.messages(many) == ["target.down"]
        assert many.claim(kind=Kind.IMPORT) is None
        many.later(seconds=30)
        probe = many.claimed(kind=Kind.IMPORT)
        assert many.claim(kind=Kind.IMPORT) is None  # one at a time
        self.fail(many, probe, turns)
        many.later(seconds=29)
        assert many.claim(kind=Kind.IMPORT) is None
        many.later(seconds=1)
        many.finish(many.claimed(kind=Kind.IMPORT), destination_messages=turns)
        assert words == ["down", "up"]
        assert self.messages(many) == ["target.down", "target.up"]
        assert many.claimed(kind=Kind.IMPORT)
        assert many.claimed(kind=Kind.IMPORT)

    def test_a_success_in_between_starts_the_count_anew(self, many):
        words = []
        for _ in range(9):
            self.fail(many, many.claimed(), self.told(words))
        many.finish(many.claimed(kind=Kind.IMPORT))
        self.fail(many, many.claimed(kind=Kind.IMPORT), self.told(words))
        assert words == []
        (gate,) = many.ledger.destinations.all()
        assert (gate.failures, gate.down) == (1, None)

    @pytest.mark.parametrize("name", ["unchanged", "refused", "changed meanwhile", "unread"])
    def test_whatever_it_answers_starts_the_count_anew_and_opens_it(self, many, name):
        outcomes = {
            "unchanged": Skipped("unchanged"),
            "refused": Failed(many.problem, "400", reached=True),
            "changed meanwhile": Skipped("superseded", reached=True),
            "unread": Retry(many.problem, reached=True),
        }
        words = []
        for _ in range(9):
            self.fail(many, many.claimed(), self.told(words))
        due = many.now + timedelta(days=1)
        many.finish(many.claimed(), outcomes[name], due=due, destination_messages=self.told(words))
        for _ in range(10):
            assert words == []
            many.later(seconds=1)
            self.fail(many, many.claimed(kind=Kind.IMPORT), self.told(words))
        assert words == ["down"]
        many.later(seconds=30)
        probe = many.claimed(kind=Kind.IMPORT)
        many.finish(probe, outcomes[name], due=due, destination_messages=self.told(words))
        assert words == ["down", "up"]
        assert many.claimed(kind=Kind.IMPORT)
        assert many.claimed(kind=Kind.IMPORT)

    def test_what_never_reached_it_counts_for_nothing_and_is_no_probe(self, many):
        words = []
        for outcome in (Failed(many.problem), Skipped("superseded")):
            many.finish(many.claimed(), outcome, destination_messages=self.told(words))
        for number in range(10):
            if number == 9:
                many.finish(
                    many.claimed(), Failed(many.problem), destination_messages=self.told(words)
                )
            self.fail(many, many.claimed(), self.told(words))
        assert words == ["down"]
        many.later(seconds=30)
        many.finish(
            many.claimed(kind=Kind.IMPORT),
            Failed(many.problem),
            destination_messages=self.told(words),
        )
        assert many.ledger.destinations.all()[0].down
        assert many.claimed(kind=Kind.IMPORT), "it has not been tried yet"
        assert words == ["down"]

    def test_the_last_try_of_a_delivery_is_a_failure_of_it_and_a_probe(self, many):
        words = []
        for _ in range(9):
            self.fail(many, many.claimed(), self.told(words))
        final = Retry(many.problem, unwell=True).last()
        many.finish(many.claimed(), final, destination_messages=self.told(words))
        assert words == ["down"]
        many.later(seconds=30)
        many.finish(many.claimed(kind=Kind.IMPORT), final, destination_messages=self.told(words))
        assert many.claim(kind=Kind.IMPORT) is None
        many.later(seconds=30)
        assert many.claimed(kind=Kind.IMPORT)

    def test_what_is_not_the_destinations_fault_does_not_count(self, many):
        for _ in range(12):
            many.retry(many.claimed(), seconds=100)
        assert many.claimed()
        assert many.ledger.destinations.all() == []

    def test_a_probe_whose_worker_dies_does_not_close_it_for_ever(self, many):
        for _ in range(10):
            self.fail(many, many.claimed(), self.told([]))
        many.later(seconds=30)
        many.claimed(kind=Kind.IMPORT)
        many.later(seconds=31)
        assert many.claimed("w2", kind=Kind.IMPORT)

    def test_by_a_lost_claim_nothing_is_counted(self, many):
        stale = many.claimed()
        many.later(seconds=31)
        many.claimed("w2", only=stale.delivery.id)
        due = many.now + timedelta(seconds=1)
        assert not many.finish(stale, Retry(many.problem, unwell=True), due=due)
        assert many.ledger.destinations.all() == []


class TestPause:
    def test_nothing_is_claimed_until_it_is_resumed(self, hands):
        hands.deliver_to("prod", version="1")
        hands.ledger.destinations.pause(Kind.IMPORT, "prod", hands.now)
        began = hands.now
        hands.later(hours=5)
        hands.ledger.destinations.pause(Kind.IMPORT, "prod", hands.now)
        (gate,) = hands.ledger.destinations.all()
        assert gate.paused == began
        assert hands.claim() is None
        hands.ledger.destinations.resume(Kind.IMPORT, "prod")
        assert hands.claimed()

    def test_what_runs_may_end(self, hands):
        hands.deliver_to("prod", version="1")
        claim = hands.claimed()
        hands.ledger.destinations.pause(Kind.IMPORT, "prod", hands.now)
        assert hands.finish(claim)

    @pytest.mark.parametrize("way", ["pause", "hold"])
    def test_no_claim_that_had_looked_before_takes_one_after_it(
        self, hands, ledger, url, monkeypatch, way
    ):
        """Whoever closes it waits for the claim that is looking."""
        if url.startswith("sqlite"):
            pytest.skip("who writes is alone")
        for name in "ab":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        running, other = hands.claimed(), Ledger.open(url)
        ways = {
            "pause": lambda: other.destinations.pause(Kind.IMPORT, "prod", hands.now),
            "hold": lambda: other.outcomes.finish(
                running, Retry(hands.problem, hold=True), hands.now, due=hands.now + HOUR
            ),
        }
        closes = threading.Thread(target=ways[way])
        look, closed_meanwhile = next_due.closed_destinations, []

        def while_it_looks(*asked):
            found = look(*asked)
            closes.start()
            closes.join(1)
            closed_meanwhile.append(not closes.is_alive())
            return found

        with monkeypatch.context() as patch:
            patch.setattr(next_due, "closed_destinations", while_it_looks)
            assert hands.claim()
        closes.join(10)
        other.close()
        assert closed_meanwhile == [False]
        assert hands.claim() is None

    def test_resuming_ends_a_hold_as_well(self, hands):
        for name in "ab":
            hands.deliver_to("prod", f"{name}.zip", version="1")
        hands.retry(hands.claimed(), seconds=3000, hold=True)
        hands.ledger.destinations.resume(Kind.IMPORT, "prod")
        assert hands.claimed()

    def test_resuming_what_was_never_closed_changes_nothing(self, hands):
        hands.ledger.destinations.resume(Kind.IMPORT, "prod")
        assert hands.ledger.destinations.all() == []


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
        second = hands.ledger.history.deliveries(PENDING).items[0]
        hands.claimed("w1", only=second.id)
        hands.later(seconds=31)
        hands.finish(hands.claimed("w2"))
        hands.claimed("w2")

    def test_its_messages_run_beside_its_import(self, hands):
        hands.done()
        hands.deliver_to("prod", version="2")
        kinds = {hands.claimed().delivery.kind, hands.claimed().delivery.kind}
        assert kinds == {Kind.IMPORT, Kind.MESSAGE}
