"""Tests of limits, rates, holds, pauses and gates, which delay due deliveries."""

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

    def test_an_expired_lease_does_not_count_against_the_limit(self, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed("w1", limits=IMPORT_ONE)
        driver.later(seconds=31)
        assert driver.claimed("w2", limits=IMPORT_ONE).attempt == 2

    def test_an_expired_lease_at_a_full_destination_waits(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.claimed("w1")
        driver.later(seconds=31)
        # The other delivery starts before the first is taken over.
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
    def test_a_hold_stops_the_destination_until_it_ends(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.deliver_to("test", "c.zip", version="1")
        driver.retry(
            driver.claimed(limits={(Kind.IMPORT, "test"): 0}), seconds=60, pauses_destination=True
        )
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
        driver.retry(first, seconds=60, pauses_destination=True)
        driver.retry(second, seconds=10, pauses_destination=True)
        driver.later(seconds=30)
        assert driver.claim() is None

    def test_a_longer_hold_lengthens_a_shorter_one(self, driver):
        for name in "abc":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        first, second = driver.claimed(), driver.claimed()
        driver.retry(first, seconds=10, pauses_destination=True)
        driver.retry(second, seconds=60, pauses_destination=True)
        driver.later(seconds=30)
        assert driver.claim() is None

    def test_a_retry_without_hold_stops_no_other_delivery(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        driver.deliver_to("prod", "b.zip", version="1")
        driver.retry(driver.claimed(), seconds=60)
        driver.claimed()


RATES = {(Kind.IMPORT, "prod"): RateLimit(3, timedelta(minutes=1))}


class TestRate:
    def test_a_full_allowance_is_claimed_at_once_and_then_at_an_even_pace(self, driver):
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

    def test_no_more_than_a_single_allowance_accumulates(self, driver):
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
    """After ten failures in a row a destination is down: a single delivery probes it."""

    @pytest.fixture
    def loaded(self, driver):
        for number in range(14):
            driver.deliver_to("prod", f"{number}.zip", version="1")
        return driver

    def fail(self, driver, claim, on_change):
        due = driver.now + timedelta(seconds=1)
        outcome = Retry(driver.problem, destination_failing=True)
        assert driver.finish(claim, outcome, due=due, destination_messages=on_change)

    def record_changes(self, changes):
        def on_change(change):
            changes.append(change)
            return [NewMessage("ops", f"target.{change}", {"target": "prod"})]

        return on_change

    def messages(self, driver):
        items = driver.ledger.history.deliveries(DeliveryQuery(kind=Kind.MESSAGE)).items
        return sorted(item.message["type"] for item in items)

    def test_a_destination_goes_down_once_is_probed_and_comes_up_once(self, loaded):
        changes = []
        on_change = self.record_changes(changes)
        for claim in [loaded.claimed(kind=Kind.IMPORT) for _ in range(12)]:
            self.fail(loaded, claim, on_change)
        assert changes == ["down"]
        assert self.messages(loaded) == ["target.down"]
        assert loaded.claim(kind=Kind.IMPORT) is None
        loaded.later(seconds=30)
        probe = loaded.claimed(kind=Kind.IMPORT)
        assert loaded.claim(kind=Kind.IMPORT) is None  # a single probe
        self.fail(loaded, probe, on_change)
        loaded.later(seconds=29)
        assert loaded.claim(kind=Kind.IMPORT) is None
        loaded.later(seconds=1)
        loaded.finish(loaded.claimed(kind=Kind.IMPORT), destination_messages=on_change)
        assert changes == ["down", "up"]
        assert self.messages(loaded) == ["target.down", "target.up"]
        assert loaded.claimed(kind=Kind.IMPORT)
        assert loaded.claimed(kind=Kind.IMPORT)

    def test_a_success_resets_the_failures(self, loaded):
        changes = []
        for _ in range(9):
            self.fail(loaded, loaded.claimed(), self.record_changes(changes))
        loaded.finish(loaded.claimed(kind=Kind.IMPORT))
        self.fail(loaded, loaded.claimed(kind=Kind.IMPORT), self.record_changes(changes))
        assert changes == []
        (gate,) = loaded.ledger.destinations.all()
        assert (gate.failures, gate.down) == (1, None)

    @pytest.mark.parametrize("name", ["unchanged", "refused", "changed meanwhile", "unread"])
    def test_any_response_resets_the_failures_and_opens_the_gate(self, loaded, name):
        outcomes = {
            "unchanged": Skipped("unchanged"),
            "refused": Failed(loaded.problem, "400", responded=True),
            "changed meanwhile": Skipped("superseded", responded=True),
            "unread": Retry(loaded.problem, responded=True),
        }
        changes = []
        for _ in range(9):
            self.fail(loaded, loaded.claimed(), self.record_changes(changes))
        due = loaded.now + timedelta(days=1)
        loaded.finish(
            loaded.claimed(),
            outcomes[name],
            due=due,
            destination_messages=self.record_changes(changes),
        )
        for _ in range(10):
            assert changes == []
            loaded.later(seconds=1)
            self.fail(loaded, loaded.claimed(kind=Kind.IMPORT), self.record_changes(changes))
        assert changes == ["down"]
        loaded.later(seconds=30)
        probe = loaded.claimed(kind=Kind.IMPORT)
        loaded.finish(
            probe, outcomes[name], due=due, destination_messages=self.record_changes(changes)
        )
        assert changes == ["down", "up"]
        assert loaded.claimed(kind=Kind.IMPORT)
        assert loaded.claimed(kind=Kind.IMPORT)

    def test_an_attempt_that_did_not_reach_the_destination_does_not_count(self, loaded):
        changes = []
        for outcome in (Failed(loaded.problem), Skipped("superseded")):
            loaded.finish(
                loaded.claimed(), outcome, destination_messages=self.record_changes(changes)
            )
        for number in range(10):
            if number == 9:
                loaded.finish(
                    loaded.claimed(),
                    Failed(loaded.problem),
                    destination_messages=self.record_changes(changes),
                )
            self.fail(loaded, loaded.claimed(), self.record_changes(changes))
        assert changes == ["down"]
        loaded.later(seconds=30)
        loaded.finish(
            loaded.claimed(kind=Kind.IMPORT),
            Failed(loaded.problem),
            destination_messages=self.record_changes(changes),
        )
        assert loaded.ledger.destinations.all()[0].down
        assert loaded.claimed(kind=Kind.IMPORT), "it has not been tried yet"
        assert changes == ["down"]

    def test_the_last_attempt_of_a_delivery_counts_as_a_failure_and_as_a_probe(self, loaded):
        changes = []
        for _ in range(9):
            self.fail(loaded, loaded.claimed(), self.record_changes(changes))
        final = Retry(loaded.problem, destination_failing=True).last(loaded.problem)
        loaded.finish(loaded.claimed(), final, destination_messages=self.record_changes(changes))
        assert changes == ["down"]
        loaded.later(seconds=30)
        loaded.finish(
            loaded.claimed(kind=Kind.IMPORT),
            final,
            destination_messages=self.record_changes(changes),
        )
        assert loaded.claim(kind=Kind.IMPORT) is None
        loaded.later(seconds=30)
        assert loaded.claimed(kind=Kind.IMPORT)

    def test_a_failure_of_something_else_does_not_count(self, loaded):
        for _ in range(12):
            loaded.retry(loaded.claimed(), seconds=100)
        assert loaded.claimed()
        assert loaded.ledger.destinations.all() == []

    def test_a_probe_whose_worker_crashes_does_not_close_the_gate_permanently(self, loaded):
        for _ in range(10):
            self.fail(loaded, loaded.claimed(), self.record_changes([]))
        loaded.later(seconds=30)
        loaded.claimed(kind=Kind.IMPORT)
        loaded.later(seconds=31)
        assert loaded.claimed("w2", kind=Kind.IMPORT)

    def test_a_lost_claim_does_not_count(self, loaded):
        stale = loaded.claimed()
        loaded.later(seconds=31)
        loaded.claimed("w2", only=stale.delivery.id)
        due = loaded.now + timedelta(seconds=1)
        assert not loaded.finish(stale, Retry(loaded.problem, destination_failing=True), due=due)
        assert loaded.ledger.destinations.all() == []


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
        driver.ledger.destinations.resume(Kind.IMPORT, "prod", driver.now)
        assert driver.claimed()

    def test_running_deliveries_may_finish(self, driver):
        driver.deliver_to("prod", version="1")
        claim = driver.claimed()
        driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.now)
        assert driver.finish(claim)

    @pytest.mark.parametrize("action", ["pause", "hold"])
    def test_closing_a_gate_waits_for_a_running_claim(
        self, driver, ledger, url, monkeypatch, action
    ):
        """A claim that found the gate open finishes first."""
        if url.startswith("sqlite"):
            pytest.skip("SQLite has a single writer")
        for name in "ab":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        running, other = driver.claimed(), Ledger.open(url)
        actions = {
            "pause": lambda: other.destinations.pause(Kind.IMPORT, "prod", driver.now),
            "hold": lambda: other.outcomes.finish(
                running,
                Retry(driver.problem, pauses_destination=True),
                driver.now,
                due=driver.now + HOUR,
            ),
        }
        closing = threading.Thread(target=actions[action])
        read_gates, closed_meanwhile = next_due.closed_destinations, []

        def close_meanwhile(*arguments):
            items = read_gates(*arguments)
            closing.start()
            closing.join(1)
            closed_meanwhile.append(not closing.is_alive())
            return items

        with monkeypatch.context() as patch:
            patch.setattr(next_due, "closed_destinations", close_meanwhile)
            assert driver.claim()
        closing.join(10)
        other.close()
        assert closed_meanwhile == [False]
        assert driver.claim() is None

    def test_resuming_ends_a_hold_as_well(self, driver):
        for name in "ab":
            driver.deliver_to("prod", f"{name}.zip", version="1")
        driver.retry(driver.claimed(), seconds=3000, pauses_destination=True)
        driver.ledger.destinations.resume(Kind.IMPORT, "prod", driver.now)
        assert driver.claimed()

    def test_resuming_what_was_never_closed_changes_nothing(self, driver):
        driver.ledger.destinations.resume(Kind.IMPORT, "prod", driver.now)
        assert driver.ledger.destinations.all() == []


class TestOneObject:
    """Imports of an object by a route run in sequence."""

    def test_versions_of_an_object_never_run_at_once(self, driver):
        driver.deliver_to("prod", version="1")
        driver.deliver_to("prod", version="2")
        first = driver.claimed()
        assert driver.claim() is None
        driver.finish(first)
        assert driver.claimed().delivery.id != first.delivery.id

    @pytest.mark.parametrize("other", [{"key": "b.zip"}, {"bucket": "b"}, {"route": "r2"}])
    def test_other_objects_and_routes_run_at_the_same_time(self, driver, other):
        driver.deliver_to("prod", version="1")
        driver.deliver_to("prod", **{"version": "2", **other})
        driver.claimed()
        driver.claimed()

    def test_the_same_object_of_another_source_runs_at_the_same_time(self, driver):
        driver.accept(driver.event(version="1"), source="one")
        driver.accept(driver.event(version="1"), source="two")
        driver.claimed()
        driver.claimed()

    def test_two_expired_leases_do_not_block_each_other(self, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed("w1")
        driver.later(seconds=31)
        driver.deliver_to("prod", version="2")
        second = driver.ledger.history.deliveries(PENDING).items[0]
        driver.claimed("w1", only=second.id)
        driver.later(seconds=31)
        driver.finish(driver.claimed("w2"))
        driver.claimed("w2")

    def test_messages_and_imports_of_an_object_run_at_the_same_time(self, driver):
        driver.done()
        driver.deliver_to("prod", version="2")
        kinds = {driver.claimed().delivery.kind, driver.claimed().delivery.kind}
        assert kinds == {Kind.IMPORT, Kind.MESSAGE}
