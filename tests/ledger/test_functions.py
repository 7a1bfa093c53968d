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


def upload(hands: Any, key: str, function: str | None = "hello", **more: Any) -> str:
    """The id of a delivery of a new object; `function`: what its route alone says it leads to."""
    destination = more.pop("destination", "prod")
    asked = {name: more.pop(name) for name in ("road", "source") if name in more}
    new = NewDelivery("r", destination, {}, function=function)
    [made] = hands.accept(
        hands.event(key, version="1", **more), deliveries=(new,), **asked
    ).deliveries
    hands.later(milliseconds=1)  # the next one's id is greater
    return str(made)


def enter(hands: Any, claim: Claim, function: str = "hello") -> str:
    return str(hands.ledger.functions.lock(claim, function).status)


class TestOneAtATime:
    def test_what_leads_to_a_function_that_is_being_imported_waits_for_its_end(self, hands):
        first = upload(hands, "v1.zip")
        second = upload(hands, "v2.zip")
        other = upload(hands, "other.zip", "other")
        claim = hands.claimed("w1")
        assert claim.delivery.id == first
        assert hands.claimed("w2").delivery.id == other
        assert hands.claim("w2") is None
        assert hands.claim("w2", only=second) is None
        assert hands.finish(claim)
        assert hands.claimed("w2").delivery.id == second

    def test_a_name_at_another_target_is_another_function(self, hands):
        upload(hands, "v1.zip")
        upload(hands, "v2.zip", destination="test")
        assert {hands.claimed().delivery.destination for _ in range(2)} == {"prod", "test"}

    def test_one_that_waits_for_its_next_try_holds_nobody_up(self, hands):
        upload(hands, "v1.zip")
        hands.later(seconds=1)
        second = upload(hands, "v2.zip")
        hands.retry(hands.claimed(), seconds=3600)
        assert hands.claimed().delivery.id == second

    def test_what_a_worker_gives_back_or_loses_lets_the_other_go(self, ledger, hands):
        first, second = upload(hands, "v1.zip"), upload(hands, "v2.zip")
        ways = (
            lambda claim: ledger.queue.release(claim, hands.now),
            lambda claim: ledger.queue.reclaim("w1", hands.now),
            lambda claim: hands.finish(claim, Skipped("gone")),
        )
        for way in ways:
            claim = hands.claimed("w1", only=first)
            assert hands.claim("w2", only=second) is None
            assert way(claim)
            assert ledger.queue.release(hands.claimed("w2", only=second), hands.now)

    def test_after_a_lease_that_ended_comes_who_takes_it_over_and_then_the_other(self, hands):
        first = upload(hands, "v1.zip")
        hands.later(seconds=1)
        second = upload(hands, "v2.zip")
        hands.claimed("cut off")
        hands.later(seconds=31)
        claim = hands.claimed("w2")
        assert claim.delivery.id == first
        assert hands.claim("w3") is None
        assert hands.finish(claim)
        assert hands.claimed("w3").delivery.id == second


class TestAfterTheLook:
    """Where only the archive tells the function."""

    def two(self, hands: Any) -> tuple[Claim, Claim]:
        upload(hands, "v1.zip", None)
        hands.later(seconds=1)
        upload(hands, "v2.zip", None)
        return hands.claimed("w1"), hands.claimed("w2")

    def test_the_second_goes_back_as_if_it_had_never_been_claimed(self, ledger, hands):
        first, second = self.two(hands)
        before = hands.read(second.delivery.id)
        assert enter(hands, first) == "locked"
        assert enter(hands, first) == "locked"
        hands.later(seconds=1)
        assert enter(hands, second) == "busy"
        after = hands.read(second.delivery.id)
        assert (after.state, after.attempts) == (State.PENDING, 0)
        assert (after.due, before.state) == (before.due, State.RUNNING)
        assert ledger.history.attempts(after.id) == []
        assert ledger.statistics.attempt_counts() == {}
        assert hands.claim() is None, "it waits for the other"
        assert hands.finish(first)
        again = hands.claimed("w2")
        assert (again.attempt, again.fence, again.earlier, again.crashes) == (1, 2, None, 0)
        assert enter(hands, again) == "locked"

    def test_what_goes_back_takes_nothing_of_the_rate(self, ledger, hands):
        rate = RateLimit(2, timedelta(minutes=1))
        for name in "abc":
            upload(hands, f"{name}.zip", None)
        rates = {(Kind.IMPORT, "prod"): rate}
        first, second = hands.claimed(rates=rates), hands.claimed(rates=rates)
        assert hands.claim(rates=rates) is None
        assert ledger.functions.lock(first, "hello", rate).status == "locked"
        assert ledger.functions.lock(second, "hello", rate).status == "busy"
        assert ledger.functions.lock(second, "hello", rate).status == "lost"
        assert hands.claimed(rates=rates).delivery.key == "c.zip"
        assert hands.finish(first)
        assert hands.claim(rates=rates) is None

    def test_who_gave_it_back_can_write_nothing_any_more(self, ledger, hands):
        first, second = self.two(hands)
        enter(hands, first)
        enter(hands, second)
        assert enter(hands, second) == "lost"
        assert not hands.finish(second)
        assert not ledger.queue.release(second, hands.now)
        assert ledger.queue.renew([second], LEASE, hands.now) == set()
        assert hands.read(second.delivery.id).state == State.PENDING

    def test_another_function_runs_beside_it(self, hands):
        first, second = self.two(hands)
        assert (enter(hands, first, "one"), enter(hands, second, "two")) == ("locked", "locked")

    def test_who_lost_the_lease_learns_it_before_the_import(self, hands):
        upload(hands, "v1.zip", None)
        late = hands.claimed("w1")
        hands.later(seconds=31)
        current = hands.claimed("w2")
        assert (enter(hands, late), enter(hands, current)) == ("lost", "locked")
        assert enter(hands, late) == "lost"

    def test_who_took_over_still_has_to_wait_for_the_other(self, hands):
        first, _ = self.two(hands)
        assert enter(hands, first) == "locked"
        hands.later(seconds=29)
        hands.ledger.queue.renew([first], LEASE, hands.now)
        hands.later(seconds=2)
        again = hands.claimed("w3")
        assert again.attempt == 2
        assert enter(hands, again) == "busy"
        assert [one.outcome for one in hands.ledger.history.attempts(again.delivery.id)] == ["lost"]

    def test_to_wait_makes_no_crash_forgotten(self, hands):
        first, second = self.two(hands)
        hands.later(seconds=31)
        crashing, other = hands.claimed(), hands.claimed()
        assert crashing.delivery.id == first.delivery.id
        hands.later(seconds=31)
        again, other = hands.claimed(), hands.claimed()
        assert (again.crashes, other.crashes) == (2, 2)
        enter(hands, again)
        assert enter(hands, other) == "busy"
        hands.finish(again)
        once_more = hands.claimed()
        assert (once_more.delivery.id, once_more.crashes) == (second.delivery.id, 2)
        assert once_more.attempt == 3

    def test_of_eight_at_once_one_enters(self, hands):
        for number in range(8):
            upload(hands, f"v{number}.zip", None)
        claims = [hands.claimed(f"w{number}") for number in range(8)]
        entries: list[str] = []
        begin = threading.Barrier(8)

        def work(claim: Claim) -> None:
            begin.wait()
            entries.append(enter(hands, claim))

        run([threading.Thread(target=work, args=(claim,)) for claim in claims])
        assert Counter(entries) == {"locked": 1, "busy": 7}

    def test_it_is_asked_anew_after_another_policy_was_chosen_by_hand(self, hands):
        delivery = upload(hands, "v1.zip")
        hands.finish(hands.claimed())
        second = upload(hands, "v2.zip")
        hands.ledger.retriggers.retrigger(delivery, hands.now, options={"on_conflict": "rename"})
        assert {hands.claimed().delivery.id for _ in range(2)} == {delivery, second}


def test_four_workers_never_import_a_function_side_by_side(hands):
    functions = ("one", "two", "three")
    for number in range(60):
        upload(hands, f"{number}.zip", functions[number % 3] if number % 2 else None)
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock = threading.Lock()
    ended: list[str] = []

    def work(owner: str) -> None:
        while len(ended) < 60:
            claim = hands.claim(owner, kind=Kind.IMPORT)
            if claim is None:
                continue
            function = functions[int(claim.delivery.key.partition(".")[0]) % 3]
            if enter(hands, claim, function) != "locked":
                continue
            with lock:
                running[function] += 1
                most[function] = max(most[function], running[function])
            with lock:
                running[function] -= 1
            assert hands.finish(claim)
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

    def brought(self, hands: Any, key: str, **more: Any) -> Claim:
        """One that was imported."""
        upload(hands, key, **more)
        claim: Claim = hands.claimed()
        assert hands.finish(claim)
        return claim

    def newer(self, hands: Any, key: str, **more: Any) -> str | None:
        """The key of what is newer than an upload that comes now."""
        function = more.get("function", "hello")
        claim = hands.claimed(only=upload(hands, key, **more))
        found = hands.ledger.functions.lock(claim, function).newer
        hands.finish(claim, Skipped("gone"))
        return found.key if found else None

    def test_an_older_upload_that_comes_late_is_told_what_is_there(self, ledger, hands):
        claim = self.brought(hands, "v2.zip")
        old = upload(hands, "v1.zip", time=hands.now - timedelta(days=9))
        hands.later(seconds=5)
        found = ledger.functions.lock(hands.claimed(only=old), "hello").newer
        assert (found.key, found.delivery) == ("v2.zip", claim.delivery.id)

    def test_a_newer_upload_is_told_nothing(self, hands):
        self.brought(hands, "v1.zip")
        hands.later(seconds=1)
        assert self.newer(hands, "v2.zip") is None

    def test_another_function_or_target_is_told_nothing(self, hands):
        self.brought(hands, "v2.zip")
        old = {"time": hands.now - timedelta(days=9)}
        assert self.newer(hands, "v1.zip", function="other", **old) is None
        assert self.newer(hands, "v1-test.zip", destination="test", **old) is None

    def test_the_newest_counts_whatever_came_last(self, hands):
        start = hands.now
        hands.later(seconds=60)
        for name, age in (("v3", 3), ("v1", 1), ("v2", 2)):
            self.brought(hands, f"{name}.zip", time=start + timedelta(seconds=age))
        late = start + timedelta(seconds=2.5)
        assert self.newer(hands, "v2-and-a-half.zip", time=late) == "v3.zip"

    def test_without_a_time_the_arrival_is_the_upload(self, hands):
        self.brought(hands, "v1.zip", time=None)
        hands.later(seconds=1)
        assert self.newer(hands, "v2.zip", time=None) is None
        assert self.newer(hands, "v0.zip", time=hands.now - timedelta(seconds=9)) == "v1.zip"

    def test_a_clock_that_is_ahead_keeps_nothing_out(self, hands):
        self.brought(hands, "v1.zip", time=hands.now + timedelta(days=365))
        hands.later(seconds=1)
        assert self.newer(hands, "v2.zip") is None

    def test_what_a_listing_rounded_is_not_told_from_what_came_a_second_later(self, hands):
        self.brought(hands, "v1.zip", time=hands.now)
        hands.later(seconds=3)
        rounded = hands.now - timedelta(seconds=4)
        assert self.newer(hands, "v2.zip", type="found", time=rounded) is None
        clearly = hands.now - timedelta(seconds=6)
        assert self.newer(hands, "v0.zip", type="found", time=clearly) == "v1.zip"

    def test_of_two_that_a_scan_found_the_listing_tells(self, hands):
        self.brought(hands, "v2.zip", type="found", time=hands.now)
        before = hands.now - timedelta(seconds=1)
        hands.later(seconds=1)
        assert self.newer(hands, "v1.zip", type="found", time=before) == "v2.zip"

    def test_versions_of_one_object_are_not_its_business(self, hands):
        self.brought(hands, "v1.zip")
        hands.later(seconds=1)
        new = NewDelivery("r", "prod", {}, function="hello")
        old = hands.event("v1.zip", version="2", time=hands.now - timedelta(days=1))
        [made] = hands.accept(old, deliveries=(new,)).deliveries
        assert hands.ledger.functions.lock(hands.claimed(only=made), "hello").newer is None

    def test_what_a_person_submits_is_wanted_now(self, hands):
        self.brought(hands, "v2.zip")
        old = hands.now - timedelta(days=9)
        assert self.newer(hands, "v1.zip", time=old, road=Origin.SUBMISSION) is None

    def test_what_a_person_retriggers_is_wanted_now(self, hands):
        self.brought(hands, "v2.zip")
        old = upload(hands, "v1.zip", time=hands.now - timedelta(days=9))
        assert hands.ledger.functions.lock(hands.claimed(), "hello").newer
        hands.later(seconds=31)
        hands.finish(hands.claimed(), Skipped("superseded"))
        hands.ledger.retriggers.retrigger(old, hands.now)
        assert hands.ledger.functions.lock(hands.claimed(), "hello").newer is None

    def test_what_failed_was_never_there(self, hands):
        upload(hands, "v2.zip")
        hands.finish(hands.claimed(), Failed(hands.problem))
        assert self.newer(hands, "v1.zip", time=hands.now - timedelta(days=9)) is None

    @pytest.mark.parametrize(("reason", "told"), [("unchanged", "v2.zip"), ("gone", None)])
    def test_what_was_there_without_an_import_counts(self, hands, reason, told):
        upload(hands, "v2.zip")
        hands.finish(hands.claimed(), Skipped(reason))
        assert self.newer(hands, "v1.zip", time=hands.now - timedelta(days=9)) == told

    def test_a_retrigger_makes_nothing_forgotten(self, hands):
        claim = self.brought(hands, "v2.zip")
        hands.ledger.retriggers.retrigger(claim.delivery.id, hands.now)
        assert self.newer(hands, "v1.zip", time=hands.now - timedelta(days=9)) == "v2.zip"

    def test_an_older_one_by_hand_does_not_lower_the_bar(self, hands):
        start = hands.now
        self.brought(hands, "v3.zip")
        self.brought(hands, "v1.zip", time=start - timedelta(days=9))
        assert self.newer(hands, "v2.zip", time=start - timedelta(days=5)) == "v3.zip"


def test_a_thousand_that_wait_for_one_function_hold_no_other_up(hands: Any) -> None:
    wanted = tuple(NewDelivery("r", "prod", {}, function="hello") for _ in range(1000))
    hands.accept(hands.event("many.zip", version="1"), deliveries=wanted)
    hands.later(seconds=1)
    other = upload(hands, "other.zip", "other")
    hands.claimed()
    assert hands.claimed().delivery.id == other
    assert hands.claim() is None
