"""Deliveries of one function: one at a time, and never an older upload over a newer one."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from relay.config.units import RateLimit
from relay.model import Claim, Failed, Kind, NewDelivery, Origin, Skipped, State

LEASE = timedelta(seconds=30)


def upload(driver: Any, key: str, function: str | None = "hello", **more: Any) -> str:
    """The id of a delivery of a new object; `function`: what its route alone says it leads to."""
    destination = more.pop("destination", "prod")
    asked = {name: more.pop(name) for name in ("road", "source") if name in more}
    new = NewDelivery("r", destination, {}, function=function)
    [made] = driver.accept(
        driver.event(key, version="1", **more), deliveries=(new,), **asked
    ).deliveries
    driver.later(milliseconds=1)  # the next one's id is greater
    return str(made)


def enter(driver: Any, claim: Claim, function: str = "hello") -> str:
    return str(driver.ledger.functions.lock(claim, function).status)


class TestOneAtATime:
    def test_what_leads_to_a_function_that_is_being_imported_waits_for_its_end(self, driver):
        first = upload(driver, "v1.zip")
        second = upload(driver, "v2.zip")
        other = upload(driver, "other.zip", "other")
        claim = driver.claimed("w1")
        assert claim.delivery.id == first
        assert driver.claimed("w2").delivery.id == other
        assert driver.claim("w2") is None
        assert driver.claim("w2", only=second) is None
        assert driver.finish(claim)
        assert driver.claimed("w2").delivery.id == second

    def test_a_name_at_another_target_is_another_function(self, driver):
        upload(driver, "v1.zip")
        upload(driver, "v2.zip", destination="test")
        assert {driver.claimed().delivery.destination for _ in range(2)} == {"prod", "test"}

    def test_one_that_waits_for_its_next_try_holds_nobody_up(self, driver):
        upload(driver, "v1.zip")
        driver.later(seconds=1)
        second = upload(driver, "v2.zip")
        driver.retry(driver.claimed(), seconds=3600)
        assert driver.claimed().delivery.id == second

    def test_what_a_worker_gives_back_or_loses_lets_the_other_go(self, ledger, driver):
        first, second = upload(driver, "v1.zip"), upload(driver, "v2.zip")
        ways = (
            lambda claim: ledger.queue.release(claim, driver.now),
            lambda claim: ledger.queue.reclaim("w1", driver.now),
            lambda claim: driver.finish(claim, Skipped("gone")),
        )
        for way in ways:
            claim = driver.claimed("w1", only=first)
            assert driver.claim("w2", only=second) is None
            assert way(claim)
            assert ledger.queue.release(driver.claimed("w2", only=second), driver.now)

    def test_after_a_lease_that_ended_comes_who_takes_it_over_and_then_the_other(self, driver):
        first = upload(driver, "v1.zip")
        driver.later(seconds=1)
        second = upload(driver, "v2.zip")
        driver.claimed("cut off")
        driver.later(seconds=31)
        claim = driver.claimed("w2")
        assert claim.delivery.id == first
        assert driver.claim("w3") is None
        assert driver.finish(claim)
        assert driver.claimed("w3").delivery.id == second


class TestAfterTheLook:
    """Where only the archive tells the function."""

    def two(self, driver: Any) -> tuple[Claim, Claim]:
        upload(driver, "v1.zip", None)
        driver.later(seconds=1)
        upload(driver, "v2.zip", None)
        return driver.claimed("w1"), driver.claimed("w2")

    def test_the_second_goes_back_as_if_it_had_never_been_claimed(self, ledger, driver):
        first, second = self.two(driver)
        before = driver.read(second.delivery.id)
        assert enter(driver, first) == "locked"
        assert enter(driver, first) == "locked"
        driver.later(seconds=1)
        assert enter(driver, second) == "busy"
        after = driver.read(second.delivery.id)
        assert (after.state, after.attempts) == (State.PENDING, 0)
        assert (after.due, before.state) == (before.due, State.RUNNING)
        assert ledger.history.attempts(after.id) == []
        assert ledger.statistics.attempt_counts() == {}
        assert driver.claim() is None, "it waits for the other"
        assert driver.finish(first)
        again = driver.claimed("w2")
        assert (again.attempt, again.fence, again.earlier, again.crashes) == (1, 2, None, 0)
        assert enter(driver, again) == "locked"

    def test_what_goes_back_takes_nothing_of_the_rate(self, ledger, driver):
        rate = RateLimit(2, timedelta(minutes=1))
        for name in "abc":
            upload(driver, f"{name}.zip", None)
        rates = {(Kind.IMPORT, "prod"): rate}
        first, second = driver.claimed(rates=rates), driver.claimed(rates=rates)
        assert driver.claim(rates=rates) is None
        assert ledger.functions.lock(first, "hello", rate).status == "locked"
        assert ledger.functions.lock(second, "hello", rate).status == "busy"
        assert ledger.functions.lock(second, "hello", rate).status == "lost"
        assert driver.claimed(rates=rates).delivery.key == "c.zip"
        assert driver.finish(first)
        assert driver.claim(rates=rates) is None

    def test_who_gave_it_back_can_write_nothing_any_more(self, ledger, driver):
        first, second = self.two(driver)
        enter(driver, first)
        enter(driver, second)
        assert enter(driver, second) == "lost"
        assert not driver.finish(second)
        assert not ledger.queue.release(second, driver.now)
        assert ledger.queue.renew([second], LEASE, driver.now) == set()
        assert driver.read(second.delivery.id).state == State.PENDING

    def test_another_function_runs_beside_it(self, driver):
        first, second = self.two(driver)
        assert (enter(driver, first, "one"), enter(driver, second, "two")) == ("locked", "locked")

    def test_who_lost_the_lease_learns_it_before_the_import(self, driver):
        upload(driver, "v1.zip", None)
        late = driver.claimed("w1")
        driver.later(seconds=31)
        current = driver.claimed("w2")
        assert (enter(driver, late), enter(driver, current)) == ("lost", "locked")
        assert enter(driver, late) == "lost"

    def test_who_took_over_still_has_to_wait_for_the_other(self, driver):
        first, _ = self.two(driver)
        assert enter(driver, first) == "locked"
        driver.later(seconds=29)
        driver.ledger.queue.renew([first], LEASE, driver.now)
        driver.later(seconds=2)
        again = driver.claimed("w3")
        assert again.attempt == 2
        assert enter(driver, again) == "busy"
        assert [one.outcome for one in driver.ledger.history.attempts(again.delivery.id)] == [
            "lost"
        ]

    def test_to_wait_makes_no_crash_forgotten(self, driver):
        first, second = self.two(driver)
        driver.later(seconds=31)
        crashing, other = driver.claimed(), driver.claimed()
        assert crashing.delivery.id == first.delivery.id
        driver.later(seconds=31)
        again, other = driver.claimed(), driver.claimed()
        assert (again.crashes, other.crashes) == (2, 2)
        enter(driver, again)
        assert enter(driver, other) == "busy"
        driver.finish(again)
        once_more = driver.claimed()
        assert (once_more.delivery.id, once_more.crashes) == (second.delivery.id, 2)
        assert once_more.attempt == 3

    def test_of_eight_at_once_one_enters(self, driver):
        for number in range(8):
            upload(driver, f"v{number}.zip", None)
        claims = [driver.claimed(f"w{number}") for number in range(8)]
        entries: list[str] = []
        begin = threading.Barrier(8)

        def work(claim: Claim) -> None:
            begin.wait()
            entries.append(enter(driver, claim))

        run([threading.Thread(target=work, args=(claim,)) for claim in claims])
        assert Counter(entries) == {"locked": 1, "busy": 7}

    def test_it_is_asked_anew_after_another_policy_was_chosen_by_hand(self, driver):
        delivery = upload(driver, "v1.zip")
        driver.finish(driver.claimed())
        second = upload(driver, "v2.zip")
        driver.ledger.retriggers.retrigger(delivery, driver.now, options={"on_conflict": "rename"})
        assert {driver.claimed().delivery.id for _ in range(2)} == {delivery, second}


def test_four_workers_never_import_a_function_side_by_side(driver):
    functions = ("one", "two", "three")
    for number in range(60):
        upload(driver, f"{number}.zip", functions[number % 3] if number % 2 else None)
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()
    ended: list[str] = []

    def work(owner: str) -> None:
        while len(ended) < 60:
            claim = driver.claim(owner, kind=Kind.IMPORT)
            if claim is None:
                continue
            function = functions[int(claim.delivery.key.partition(".")[0]) % 3]
            if enter(driver, claim, function) != "locked":
                continue
            with lock:
                running[function] += 1
                most[function] = max(most[function], running[function])
            with lock:
                running[function] -= 1
            assert driver.finish(claim)
            ended.append(claim.delivery.id)

    run([threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)])
    assert (len(set(ended)), most) == (60, {"one": 1, "two": 1, "three": 1})


def run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


class TestNewer:
    """What is in a function already against what comes now."""

    def brought(self, driver: Any, key: str, **more: Any) -> Claim:
        """One that was imported."""
        upload(driver, key, **more)
        claim: Claim = driver.claimed()
        assert driver.finish(claim)
        return claim

    def newer(self, driver: Any, key: str, **more: Any) -> str | None:
        """The key of what is newer than an upload that comes now."""
        function = more.get("function", "hello")
        claim = driver.claimed(only=upload(driver, key, **more))
        found = driver.ledger.functions.lock(claim, function).newer
        driver.finish(claim, Skipped("gone"))
        return found.key if found else None

    def test_an_older_upload_that_comes_late_is_told_what_is_there(self, ledger, driver):
        claim = self.brought(driver, "v2.zip")
        old = upload(driver, "v1.zip", time=driver.now - timedelta(days=9))
        driver.later(seconds=5)
        found = ledger.functions.lock(driver.claimed(only=old), "hello").newer
        assert (found.key, found.delivery) == ("v2.zip", claim.delivery.id)

    def test_a_newer_upload_is_told_nothing(self, driver):
        self.brought(driver, "v1.zip")
        driver.later(seconds=1)
        assert self.newer(driver, "v2.zip") is None

    def test_another_function_or_target_is_told_nothing(self, driver):
        self.brought(driver, "v2.zip")
        old = {"time": driver.now - timedelta(days=9)}
        assert self.newer(driver, "v1.zip", function="other", **old) is None
        assert self.newer(driver, "v1-test.zip", destination="test", **old) is None

    def test_the_newest_counts_whatever_came_last(self, driver):
        start = driver.now
        driver.later(seconds=60)
        for name, age in (("v3", 3), ("v1", 1), ("v2", 2)):
            self.brought(driver, f"{name}.zip", time=start + timedelta(seconds=age))
        late = start + timedelta(seconds=2.5)
        assert self.newer(driver, "v2-and-a-half.zip", time=late) == "v3.zip"

    def test_without_a_time_the_arrival_is_the_upload(self, driver):
        self.brought(driver, "v1.zip", time=None)
        driver.later(seconds=1)
        assert self.newer(driver, "v2.zip", time=None) is None
        assert self.newer(driver, "v0.zip", time=driver.now - timedelta(seconds=9)) == "v1.zip"

    def test_a_clock_that_is_ahead_keeps_nothing_out(self, driver):
        self.brought(driver, "v1.zip", time=driver.now + timedelta(days=365))
        driver.later(seconds=1)
        assert self.newer(driver, "v2.zip") is None

    def test_what_a_listing_rounded_is_not_told_from_what_came_a_second_later(self, driver):
        self.brought(driver, "v1.zip", time=driver.now)
        driver.later(seconds=3)
        rounded = driver.now - timedelta(seconds=4)
        assert self.newer(driver, "v2.zip", type="found", time=rounded) is None
        clearly = driver.now - timedelta(seconds=6)
        assert self.newer(driver, "v0.zip", type="found", time=clearly) == "v1.zip"

    def test_of_two_that_a_scan_found_the_listing_tells(self, driver):
        self.brought(driver, "v2.zip", type="found", time=driver.now)
        before = driver.now - timedelta(seconds=1)
        driver.later(seconds=1)
        assert self.newer(driver, "v1.zip", type="found", time=before) == "v2.zip"

    def test_versions_of_one_object_are_not_its_business(self, driver):
        self.brought(driver, "v1.zip")
        driver.later(seconds=1)
        new = NewDelivery("r", "prod", {}, function="hello")
        old = driver.event("v1.zip", version="2", time=driver.now - timedelta(days=1))
        [made] = driver.accept(old, deliveries=(new,)).deliveries
        assert driver.ledger.functions.lock(driver.claimed(only=made), "hello").newer is None

    def test_what_a_person_submits_is_wanted_now(self, driver):
        self.brought(driver, "v2.zip")
        old = driver.now - timedelta(days=9)
        assert self.newer(driver, "v1.zip", time=old, road=Origin.SUBMISSION) is None

    def test_what_a_person_retriggers_is_wanted_now(self, driver):
        self.brought(driver, "v2.zip")
        old = upload(driver, "v1.zip", time=driver.now - timedelta(days=9))
        assert driver.ledger.functions.lock(driver.claimed(), "hello").newer
        driver.later(seconds=31)
        driver.finish(driver.claimed(), Skipped("superseded"))
        driver.ledger.retriggers.retrigger(old, driver.now)
        assert driver.ledger.functions.lock(driver.claimed(), "hello").newer is None

    def test_what_failed_was_never_there(self, driver):
        upload(driver, "v2.zip")
        driver.finish(driver.claimed(), Failed(driver.problem))
        assert self.newer(driver, "v1.zip", time=driver.now - timedelta(days=9)) is None

    @pytest.mark.parametrize(("reason", "told"), [("unchanged", "v2.zip"), ("gone", None)])
    def test_what_was_there_without_an_import_counts(self, driver, reason, told):
        upload(driver, "v2.zip")
        driver.finish(driver.claimed(), Skipped(reason))
        assert self.newer(driver, "v1.zip", time=driver.now - timedelta(days=9)) == told

    def test_a_retrigger_makes_nothing_forgotten(self, driver):
        claim = self.brought(driver, "v2.zip")
        driver.ledger.retriggers.retrigger(claim.delivery.id, driver.now)
        assert self.newer(driver, "v1.zip", time=driver.now - timedelta(days=9)) == "v2.zip"

    def test_an_older_one_by_hand_does_not_lower_the_bar(self, driver):
        start = driver.now
        self.brought(driver, "v3.zip")
        self.brought(driver, "v1.zip", time=start - timedelta(days=9))
        assert self.newer(driver, "v2.zip", time=start - timedelta(days=5)) == "v3.zip"


def test_a_thousand_that_wait_for_one_function_hold_no_other_up(driver: Any) -> None:
    wanted = tuple(NewDelivery("r", "prod", {}, function="hello") for _ in range(1000))
    driver.accept(driver.event("many.zip", version="1"), deliveries=wanted)
    driver.later(seconds=1)
    other = upload(driver, "other.zip", "other")
    driver.claimed()
    assert driver.claimed().delivery.id == other
    assert driver.claim() is None
