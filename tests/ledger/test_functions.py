"""Tests of the order of imports to a function."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from relay.config.units import RateLimit
from relay.ledger.schema import functions
from relay.model import Claim, Failed, Kind, NewDelivery, Origin, Skipped, State

LEASE = timedelta(seconds=30)


def upload(driver: Any, key: str, function: str | None = "hello", **more: Any) -> str:
    """Return the id of a delivery of a new object. `function`: the name that the route gives."""
    destination = more.pop("destination", "prod")
    asked = {name: more.pop(name) for name in ("origin", "source") if name in more}
    new = NewDelivery("r", destination, {}, function=function)
    [made] = driver.accept(
        driver.event(key, version="1", **more), deliveries=(new,), **asked
    ).deliveries
    driver.later(milliseconds=1)  # so that ids increase
    return str(made)


def lock_function(driver: Any, claim: Claim, function: str = "hello") -> str:
    return str(driver.ledger.functions.lock(claim, function, driver.now).status)


class TestExclusion:
    def test_an_import_waits_for_a_running_import_of_the_same_function(self, driver):
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

    def test_a_pending_retry_does_not_block_other_imports(self, driver):
        upload(driver, "v1.zip")
        driver.later(seconds=1)
        second = upload(driver, "v2.zip")
        driver.retry(driver.claimed(), seconds=3600)
        assert driver.claimed().delivery.id == second

    def test_a_released_or_lost_import_unblocks_the_function(self, ledger, driver):
        first, second = upload(driver, "v1.zip"), upload(driver, "v2.zip")
        ways = (
            lambda claim: ledger.queue.release(claim, driver.now),
            lambda claim: ledger.queue.reclaim("w1", driver.now),
            lambda claim: driver.finish(claim, Skipped("gone")),
        )
        for ending in ways:
            claim = driver.claimed("w1", only=first)
            assert driver.claim("w2", only=second) is None
            assert ending(claim)
            assert ledger.queue.release(driver.claimed("w2", only=second), driver.now)

    def test_an_import_with_an_expired_lease_is_repeated_before_others(self, driver):
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


class TestLock:
    """The function is only known from the archive."""

    def two(self, driver: Any) -> tuple[Claim, Claim]:
        upload(driver, "v1.zip", None)
        driver.later(seconds=1)
        upload(driver, "v2.zip", None)
        return driver.claimed("w1"), driver.claimed("w2")

    def test_the_claim_of_the_second_import_is_undone(self, ledger, driver):
        first, second = self.two(driver)
        before = driver.read(second.delivery.id)
        assert lock_function(driver, first) == "locked"
        assert lock_function(driver, first) == "locked"
        driver.later(seconds=1)
        assert lock_function(driver, second) == "busy"
        after = driver.read(second.delivery.id)
        assert (after.state, after.attempts) == (State.PENDING, 0)
        assert (after.due, before.state) == (before.due, State.RUNNING)
        assert ledger.history.attempts(after.id) == []
        assert ledger.statistics.attempt_counts() == {}
        assert driver.claim() is None, "it waits for the other"
        assert driver.finish(first)
        again = driver.claimed("w2")
        assert (again.attempt, again.fence, again.intents, again.crashes) == (1, 2, (), 0)
        assert lock_function(driver, again) == "locked"

    def test_an_undone_claim_does_not_use_up_the_rate(self, ledger, driver):
        rate = RateLimit(2, timedelta(minutes=1))
        for name in "abc":
            upload(driver, f"{name}.zip", None)
        rates = {(Kind.IMPORT, "prod"): rate}
        first, second = driver.claimed(rates=rates), driver.claimed(rates=rates)
        assert driver.claim(rates=rates) is None
        assert ledger.functions.lock(first, "hello", driver.now, rate).status == "locked"
        assert ledger.functions.lock(second, "hello", driver.now, rate).status == "busy"
        assert ledger.functions.lock(second, "hello", driver.now, rate).status == "lost"
        assert driver.claimed(rates=rates).delivery.key == "c.zip"
        assert driver.finish(first)
        assert driver.claim(rates=rates) is None

    def test_an_undone_claim_cannot_write(self, ledger, driver):
        first, second = self.two(driver)
        lock_function(driver, first)
        lock_function(driver, second)
        assert lock_function(driver, second) == "lost"
        assert not driver.finish(second)
        assert not ledger.queue.release(second, driver.now)
        assert ledger.queue.renew([second], LEASE, driver.now) == set()
        assert driver.read(second.delivery.id).state == State.PENDING

    def test_another_function_runs_at_the_same_time(self, driver):
        first, second = self.two(driver)
        assert (lock_function(driver, first, "one"), lock_function(driver, second, "two")) == (
            "locked",
            "locked",
        )

    def test_a_lost_lease_is_detected_before_the_import(self, driver):
        upload(driver, "v1.zip", None)
        late = driver.claimed("w1")
        driver.later(seconds=31)
        current = driver.claimed("w2")
        assert (lock_function(driver, late), lock_function(driver, current)) == ("lost", "locked")
        assert lock_function(driver, late) == "lost"

    def test_a_claim_after_an_expired_lease_still_waits_for_the_other_import(self, driver):
        first, _ = self.two(driver)
        assert lock_function(driver, first) == "locked"
        driver.later(seconds=29)
        driver.ledger.queue.renew([first], LEASE, driver.now)
        driver.later(seconds=2)
        again = driver.claimed("w3")
        assert again.attempt == 2
        assert lock_function(driver, again) == "busy"
        assert [
            attempt.outcome for attempt in driver.ledger.history.attempts(again.delivery.id)
        ] == ["lost"]

    def test_waiting_does_not_reset_the_crash_count(self, driver):
        first, second = self.two(driver)
        driver.later(seconds=31)
        crashing, other = driver.claimed(), driver.claimed()
        assert crashing.delivery.id == first.delivery.id
        driver.later(seconds=31)
        again, other = driver.claimed(), driver.claimed()
        assert (again.crashes, other.crashes) == (2, 2)
        lock_function(driver, again)
        assert lock_function(driver, other) == "busy"
        driver.finish(again)
        once_more = driver.claimed()
        assert (once_more.delivery.id, once_more.crashes) == (second.delivery.id, 2)
        assert once_more.attempt == 3

    def test_a_single_import_of_eight_gets_the_lock(self, driver):
        for number in range(8):
            upload(driver, f"v{number}.zip", None)
        claims = [driver.claimed(f"w{number}") for number in range(8)]
        entries: list[str] = []
        begin = threading.Barrier(8)

        def work(claim: Claim) -> None:
            begin.wait()
            entries.append(lock_function(driver, claim))

        run([threading.Thread(target=work, args=(claim,)) for claim in claims])
        assert Counter(entries) == {"locked": 1, "busy": 7}

    def test_a_retrigger_with_options_determines_the_function_again(self, driver):
        delivery = upload(driver, "v1.zip")
        driver.finish(driver.claimed())
        second = upload(driver, "v2.zip")
        driver.ledger.retriggers.retrigger(delivery, driver.now, options={"on_conflict": "rename"})
        assert {driver.claimed().delivery.id for _ in range(2)} == {delivery, second}


def test_four_workers_never_import_a_function_at_the_same_time(driver):
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
            if lock_function(driver, claim, function) != "locked":
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
    """Compares an upload with the one that was imported before."""

    def imported(self, driver: Any, key: str, **more: Any) -> Claim:
        """Import an upload."""
        claim: Claim = driver.claimed(only=upload(driver, key, **more))
        assert driver.finish(claim)
        return claim

    def newer(self, driver: Any, key: str, **more: Any) -> str | None:
        """Return the key of the newer import that blocks this upload."""
        function = more.get("function", "hello")
        claim = driver.claimed(only=upload(driver, key, **more))
        found = driver.ledger.functions.lock(claim, function, driver.now).newer
        driver.finish(claim, Skipped("gone"))
        return found.key if found else None

    def test_a_late_older_upload_gets_the_newer_import(self, ledger, driver):
        claim = self.imported(driver, "v2.zip")
        old = upload(driver, "v1.zip", time=driver.now - timedelta(days=9))
        driver.later(seconds=5)
        found = ledger.functions.lock(driver.claimed(only=old), "hello", driver.now).newer
        assert (found.key, found.delivery) == ("v2.zip", claim.delivery.id)

    def test_a_newer_upload_gets_no_newer_import(self, driver):
        self.imported(driver, "v1.zip")
        driver.later(seconds=1)
        assert self.newer(driver, "v2.zip") is None

    def test_another_function_or_target_does_not_count(self, driver):
        self.imported(driver, "v2.zip")
        old = {"time": driver.now - timedelta(days=9)}
        assert self.newer(driver, "v1.zip", function="other", **old) is None
        assert self.newer(driver, "v1-test.zip", destination="test", **old) is None

    def test_the_newest_upload_counts_and_not_the_last_import(self, driver):
        start = driver.now
        driver.later(seconds=60)
        for name, age in (("v3", 3), ("v1", 1), ("v2", 2)):
            self.imported(driver, f"{name}.zip", time=start + timedelta(seconds=age))
        late = start + timedelta(seconds=2.5)
        assert self.newer(driver, "v2-and-a-half.zip", time=late) == "v3.zip"

    def test_without_a_time_the_arrival_is_the_upload(self, driver):
        self.imported(driver, "v1.zip", time=None)
        driver.later(seconds=1)
        assert self.newer(driver, "v2.zip", time=None) is None
        assert self.newer(driver, "v0.zip", time=driver.now - timedelta(seconds=9)) == "v1.zip"

    def test_a_fast_clock_does_not_block_later_uploads(self, driver):
        self.imported(driver, "v1.zip", time=driver.now + timedelta(days=365))
        driver.later(seconds=1)
        assert self.newer(driver, "v2.zip") is None

    def test_rounded_times_of_a_listing_are_not_compared_by_the_second(self, driver):
        self.imported(driver, "v1.zip", time=driver.now)
        driver.later(seconds=3)
        rounded = driver.now - timedelta(seconds=4)
        assert self.newer(driver, "v2.zip", type="found", time=rounded) is None
        clearly = driver.now - timedelta(seconds=6)
        assert self.newer(driver, "v0.zip", type="found", time=clearly) == "v1.zip"

    def test_two_found_uploads_are_compared_by_the_listing(self, driver):
        self.imported(driver, "v2.zip", type="found", time=driver.now)
        before = driver.now - timedelta(seconds=1)
        driver.later(seconds=1)
        assert self.newer(driver, "v1.zip", type="found", time=before) == "v2.zip"

    def test_between_sources_the_arrival_decides_because_clocks_differ(self, driver):
        slow = {"source": "slow", "time": driver.now - timedelta(hours=1)}
        self.imported(driver, "fast.zip", time=driver.now)
        first = upload(driver, "slow-1.zip", **slow)
        assert self.newer(driver, "slow-2.zip", **slow) is None
        self.imported(driver, "fast-2.zip", time=driver.now)
        driver.later(seconds=1)
        found = driver.ledger.functions.lock(driver.claimed(only=first), "hello", driver.now).newer
        assert (found.source, found.key) == ("exports", "fast-2.zip")

    def test_another_source_does_not_hide_a_newer_upload_of_the_same_source(self, driver):
        late = driver.now - timedelta(hours=1)
        self.imported(driver, "v2.zip")
        self.imported(driver, "other.zip", source="other")
        assert self.newer(driver, "v1.zip", time=late) == "v2.zip"
        self.imported(driver, "other-2.zip", source="other", time=late)
        assert self.newer(driver, "v0.zip", time=late) == "v2.zip"

    @pytest.mark.parametrize(("source", "newest"), [("exports", "v2.zip"), ("other", "v1.zip")])
    def test_an_import_of_an_older_relay_counts(self, ledger, driver, source, newest):
        """In a rolling upgrade, it stores the last upload, and does not know the sources."""
        late = driver.now - timedelta(hours=1)
        self.imported(driver, "v1.zip", time=late)
        newer = upload(driver, "v2.zip", source=source)
        row = {"delivery_id": newer, "source": source, "key": "v2.zip", "moment": driver.now}
        with ledger._database.write() as connection:
            connection.execute(update(functions).values(**row))
        assert self.newer(driver, "v0.zip", source=source, time=late) == "v2.zip"
        assert self.newer(driver, "v0-too.zip", time=late - timedelta(hours=1)) == newest

    def test_versions_of_the_same_object_are_not_compared(self, driver):
        self.imported(driver, "v1.zip")
        driver.later(seconds=1)
        new = NewDelivery("r", "prod", {}, function="hello")
        old = driver.event("v1.zip", version="2", time=driver.now - timedelta(days=1))
        [made] = driver.accept(old, deliveries=(new,)).deliveries
        assert (
            driver.ledger.functions.lock(driver.claimed(only=made), "hello", driver.now).newer
            is None
        )

    def test_a_submission_may_import_an_older_upload(self, driver):
        self.imported(driver, "v2.zip")
        old = driver.now - timedelta(days=9)
        assert self.newer(driver, "v1.zip", time=old, origin=Origin.SUBMISSION) is None

    def test_a_retrigger_may_import_an_older_upload(self, driver):
        self.imported(driver, "v2.zip")
        old = upload(driver, "v1.zip", time=driver.now - timedelta(days=9))
        assert driver.ledger.functions.lock(driver.claimed(), "hello", driver.now).newer
        driver.later(seconds=31)
        driver.finish(driver.claimed(), Skipped("superseded"))
        driver.ledger.retriggers.retrigger(old, driver.now)
        assert driver.ledger.functions.lock(driver.claimed(), "hello", driver.now).newer is None

    def test_a_failed_import_does_not_count(self, driver):
        upload(driver, "v2.zip")
        driver.finish(driver.claimed(), Failed(driver.problem))
        assert self.newer(driver, "v1.zip", time=driver.now - timedelta(days=9)) is None

    @pytest.mark.parametrize(("reason", "expected"), [("unchanged", "v2.zip"), ("gone", None)])
    def test_an_unchanged_function_counts_as_imported(self, driver, reason, expected):
        upload(driver, "v2.zip")
        driver.finish(driver.claimed(), Skipped(reason))
        assert self.newer(driver, "v1.zip", time=driver.now - timedelta(days=9)) == expected

    def test_a_retrigger_keeps_the_imported_upload(self, driver):
        claim = self.imported(driver, "v2.zip")
        driver.ledger.retriggers.retrigger(claim.delivery.id, driver.now)
        assert self.newer(driver, "v1.zip", time=driver.now - timedelta(days=9)) == "v2.zip"

    def test_a_manual_import_of_an_older_upload_keeps_the_newest(self, driver):
        start = driver.now
        self.imported(driver, "v3.zip")
        self.imported(driver, "v1.zip", time=start - timedelta(days=9))
        assert self.newer(driver, "v2.zip", time=start - timedelta(days=5)) == "v3.zip"


def test_a_thousand_waiting_imports_of_a_function_do_not_block_others(driver: Any) -> None:
    wanted = tuple(NewDelivery("r", "prod", {}, function="hello") for _ in range(1000))
    driver.accept(driver.event("many.zip", version="1"), deliveries=wanted)
    driver.later(seconds=1)
    other = upload(driver, "other.zip", "other")
    driver.claimed()
    assert driver.claimed().delivery.id == other
    assert driver.claim() is None
