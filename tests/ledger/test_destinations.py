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
    def test_no_more_than_the_limit_run_at_once(self, driver):
        for name in "abc":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        limits = {(Kind.IMPORT, "prod"): 2}
        first = driver.claimed(limits=limits)
        driver.claimed(limits=limits)
        assert driver.claim(limits=limits) is None
        driver.finish(first)
        driver.claimed(limits=limits)

    def test_a_full_destination_does_not_stop_the_others(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.later(seconds=1)
        other = driver.deliver_to("test", "c.zip", version="1")
        driver.claimed(limits=IMPORT_ONE)
        assert driver.claimed(limits=IMPORT_ONE).delivery.id == other.id

    def test_an_ended_lease_does_not_count_against_the_limit(self, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed("w1", limits=IMPORT_ONE)
        driver.later(seconds=31)
        assert driver.claimed("w2", limits=IMPORT_ONE).attempt == 2

    def test_an_ended_lease_at_a_full_destination_waits(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.claimed("w1")
        driver.later(seconds=31)
        # The other one starts; nobody has taken over the first one yet.
        other = driver.claimed("w2", only=driver.ledger.history.deliveries(PENDING).items[0].id)
        assert driver.claim("w2", limits=IMPORT_ONE) is None
        driver.finish(other)
        assert driver.claimed("w2", limits=IMPORT_ONE).attempt == 2

    def test_limits_of_imports_are_not_those_of_messages(self, driver):
        driver.done()
        driver.deliver_to("ops", "b.zip", version="1")
        limits = {(Kind.IMPORT, "ops"): 0}
        assert driver.claimed(limits=limits).delivery.kind == Kind.MESSAGE
        assert driver.claim(limits=limits) is None


class TestHolds:
    def test_a_hold_stops_its_destination_until_then(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.deliver_to("test", "c.zip", version="1")
        driver.retry(driver.claimed(limits={(Kind.IMPORT, "test"): 0}), seconds=60, hold=True)
        other = driver.claimed()
        assert other.delivery.destination == "test"
        driver.finish(other)
        driver.later(seconds=59)
        assert driver.claim() is None
        driver.later(seconds=1)
        assert driver.claimed().delivery.destination == "prod"

    def test_a_shorter_hold_does_not_end_a_longer_one(self, driver):
        for name in "abc":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        first, second = driver.claimed(), driver.claimed()
        driver.retry(first, seconds=60, hold=True)
        driver.retry(second, seconds=10, hold=True)
        driver.later(seconds=30)
        assert driver.claim() is None

    def test_a_longer_hold_lengthens_a_shorter_one(self, driver):
        for name in "abc":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        first, second = driver.claimed(), driver.claimed()
        driver.retry(first, seconds=10, hold=True)
        driver.retry(second, seconds=60, hold=True)
        driver.later(seconds=30)
        assert driver.claim() is None

    def test_a_retry_without_hold_stops_nobody_else(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.retry(driver.claimed(), seconds=60)
        driver.claimed()


RATES = {(Kind.IMPORT, "prod"): RateLimit(3, timedelta(minutes=1))}


class TestRate:
    def test_a_whole_allowance_goes_at_once_and_then_one_by_one(self, driver):
        for name in "abcdef":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        for _ in range(3):
            driver.claimed(rates=RATES)
        assert driver.claim(rates=RATES) is None
        driver.later(seconds=19)
        assert driver.claim(rates=RATES) is None
        driver.later(seconds=1)
        driver.claimed(rates=RATES)
        assert driver.claim(rates=RATES) is None

    def test_nothing_is_saved_up_beyond_one_allowance(self, driver):
        for name in "abcdef":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        driver.claimed(rates=RATES)
        driver.later(hours=1)
        for _ in range(3):
            driver.claimed(rates=RATES)
        assert driver.claim(rates=RATES) is None

    def test_another_destination_is_not_counted(self, driver):
        for name in "abcd":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        driver.later(seconds=1)
        other = driver.deliver_to("test", "t.zip", version="1")
        for _ in range(3):
            driver.claimed(rates=RATES)
        assert driver.claimed(rates=RATES).delivery.id == other.id


class TestDown:
    """After ten failures in a row a destination is down: one tries, the others wait."""

    @pytest.fixture
    def many(self, driver):
        for number in range(14):
            driver.deliver_to("prod", f"{number}.zip", version="1")
        return driver

    def fail(self, driver, claim, turns):
        due = driver.now + timedelta(seconds=1)
        outcome = Retry(driver.problem, unwell=True)
        assert driver.finish(claim, outcome, due=due, destination_messages=turns)

    def told(self, words):
        def turns(word):
            words.append(word)
            return [NewMessage("ops", f"target.{word}", {"target": "prod"})]

        return turns

    def messages(self, driver):
        found = driver.ledger.history.deliveries(DeliveryQuery(kind=Kind.MESSAGE)).items
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
    def test_nothing_is_claimed_until_it_is_resumed(self, driver):
        driver.deliver_to("prod", version="1")
        driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.now)
        began = driver.now
        driver.later(hours=5)
        driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.now)
        (gate,) = driver.ledger.destinations.all()
        assert gate.paused == began
        assert driver.claim() is None
        driver.ledger.destinations.resume(Kind.IMPORT, "prod")
        assert driver.claimed()

    def test_what_runs_may_end(self, driver):
        driver.deliver_to("prod", version="1")
        claim = driver.claimed()
        driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.now)
        assert driver.finish(claim)

    @pytest.mark.parametrize("way", ["pause", "hold"])
    def test_no_claim_that_had_looked_before_takes_one_after_it(
        self, driver, ledger, url, monkeypatch, way
    ):
        """Whoever closes it waits for the claim that is looking."""
        if url.startswith("sqlite"):
            pytest.skip("who writes is alone")
        for name in "ab":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        running, other = driver.claimed(), Ledger.open(url)
        ways = {
            "pause": lambda: other.destinations.pause(Kind.IMPORT, "prod", driver.now),
            "hold": lambda: other.outcomes.finish(
                running, Retry(driver.problem, hold=True), driver.now, due=driver.now + HOUR
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
            assert driver.claim()
        closes.join(10)
        other.close()
        assert closed_meanwhile == [False]
        assert driver.claim() is None

    def test_resuming_ends_a_hold_as_well(self, driver):
        for name in "ab":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        driver.retry(driver.claimed(), seconds=3000, hold=True)
        driver.ledger.destinations.resume(Kind.IMPORT, "prod")
        assert driver.claimed()

    def test_resuming_what_was_never_closed_changes_nothing(self, driver):
        driver.ledger.destinations.resume(Kind.IMPORT, "prod")
        assert driver.ledger.destinations.all() == []


class TestOneObject:
    """Imports of one object by one route run one after the other."""

    def test_its_versions_never_run_at_once(self, driver):
        driver.deliver_to("prod", version="1")
        driver.deliver_to("prod", version="2")
        first = driver.claimed()
        assert driver.claim() is None
        driver.finish(first)
        assert driver.claimed().delivery.id != first.delivery.id

    @pytest.mark.parametrize("other", [{"key": "b.zip"}, {"bucket": "b"}, {"route": "r2"}])
    def test_other_objects_and_routes_run_beside_it(self, driver, other):
        driver.deliver_to("prod", version="1")
        driver.deliver_to("prod", **{"version": "2", **other})
        driver.claimed()
        driver.claimed()

    def test_the_same_object_of_another_source_runs_beside_it(self, driver):
        driver.accept(driver.event(version="1"), source="one")
        driver.accept(driver.event(version="1"), source="two")
        driver.claimed()
        driver.claimed()

    def test_two_ended_leases_do_not_block_each_other_for_ever(self, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed("w1")
        driver.later(seconds=31)
        driver.deliver_to("prod", version="2")
        second = driver.ledger.history.deliveries(PENDING).items[0]
        driver.claimed("w1", only=second.id)
        driver.later(seconds=31)
        driver.finish(driver.claimed("w2"))
        driver.claimed("w2")

    def test_its_messages_run_beside_its_import(self, driver):
        driver.done()
        driver.deliver_to("prod", version="2")
        kinds = {driver.claimed().delivery.kind, driver.claimed().delivery.kind}
        assert kinds == {Kind.IMPORT, Kind.MESSAGE}
