"""One upload is one event, by whatever road the news of it came: hook, queue, scan, submission."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event as engine_event

from relay.model import ObjectRef, Origin, Verdict


def found(driver, key="prod/a.zip", **more):
    """An object as a scan comes upon it; its time is when it was modified."""
    given = {"type": "found", "time": driver.now, **more}
    given.setdefault("identity", f"etag:{given.get('etag')}@{given['time']}")
    return driver.event(key, **given)


def scan(driver, *events):
    """How many of them were new to the ledger; what `known` says beforehand must agree."""
    unknown = driver.ledger.intake.known_ids("exports", events).count(None)
    new_events = driver.accept(*events, road=Origin.SCAN).new_events
    assert new_events == unknown
    return new_events


class TestTheOtherRoad:
    """The same bytes, announced by the storage and found by a scan."""

    def test_a_found_object_whose_version_was_announced_is_known(self, driver):
        announced = driver.accept(driver.event(version="v1", etag="e1", identity="sequencer:9"))
        found = driver.event(version="v1", etag="e1", type="found")
        again = driver.accept(found, road=Origin.SCAN)
        assert (again.new_events, again.verdict) == (0, Verdict.DUPLICATE)
        assert again.deliveries == announced.deliveries

    def test_a_found_object_with_another_version_is_new_though_its_etag_is_known(self, driver):
        driver.accept(driver.event(version="v1", etag="e1"))
        assert driver.accept(driver.event(version="v2", etag="e1", type="found")).new_events == 1

    def test_without_versions_the_etag_decides(self, driver):
        driver.accept(driver.event(etag="e1", identity="sequencer:1+e1"))
        assert driver.accept(driver.event(etag="e1", type="found", identity="x")).new_events == 0
        assert driver.accept(driver.event(etag="e2", type="found", identity="y")).new_events == 1

    def test_the_same_etag_under_another_key_is_new(self, driver):
        driver.accept(driver.event("a.zip", etag="e1"))
        assert driver.accept(driver.event("b.zip", etag="e1", type="found")).new_events == 1

    def test_an_announcement_of_what_was_found_is_known(self, driver):
        modified = driver.now
        driver.accept(driver.event(etag="e1", type="found", identity="x"), road=Origin.SCAN)
        late = driver.event(etag="e1", identity="s:1", time=modified + timedelta(seconds=2))
        assert driver.accept(late).new_events == 0

    def test_an_announcement_that_is_younger_than_what_was_found_is_a_new_upload(self, driver):
        modified = driver.now
        driver.accept(driver.event(etag="e1", type="found", identity="x"), road=Origin.SCAN)
        again = driver.event(etag="e1", identity="s:2", time=modified + timedelta(seconds=3))
        assert driver.accept(again).new_events == 1

    @pytest.mark.parametrize("which", ["found", "announced"])
    def test_where_one_time_is_unknown_the_bytes_decide(self, driver, which):
        found_at = None if which == "found" else driver.now
        told_at = None if which == "announced" else driver.later(days=1)
        driver.accept(driver.event(etag="e1", type="found", identity="x", time=found_at))
        assert driver.accept(driver.event(etag="e1", identity="s:1", time=told_at)).new_events == 0

    def test_the_same_bytes_announced_twice_are_two_uploads(self, driver):
        driver.accept(driver.event(etag="e1", identity="s:1"))
        assert driver.accept(driver.event(etag="e1", identity="s:2")).new_events == 1

    def test_an_object_that_was_only_seen_is_routed_when_it_is_announced(self, ledger, driver):
        seen = driver.event(etag="e1", type="found", identity="x")
        driver.accept(seen, deliveries=(), road=Origin.SCAN, verdict=Verdict.IGNORED)
        told = driver.accept(driver.event(etag="e1", identity="s:1"))
        assert (told.new_events, told.verdict, len(told.deliveries)) == (0, Verdict.ACCEPTED, 1)
        assert ledger.history.delivery(told.deliveries[0]).event_id == seen.id_in("exports")

    def test_an_object_that_was_only_seen_is_not_routed_by_another_scan(self, driver):
        seen = driver.event(etag="e1", type="found", identity="x")
        driver.accept(seen, deliveries=(), road=Origin.SCAN, verdict=Verdict.IGNORED)
        again = driver.accept(seen, road=Origin.SCAN)
        assert (again.deliveries, again.verdict) == ((), Verdict.DUPLICATE)


class TestStoragesThatNameNoBytes:
    """COS, OCI and some SeaweedFS announce neither version nor etag."""

    def told(self, driver, **more):
        event = driver.event(identity=f"request:{driver.now}", **more)
        driver.accept(event)
        return event

    def test_what_was_announced_is_not_found_again(self, driver):
        modified = driver.now
        driver.later(seconds=1)
        self.told(driver, size=9)
        assert scan(driver, found(driver, etag="e1", size=9, time=modified)) == 0

    def test_nor_where_the_announcement_has_no_time_but_that_of_its_arrival(self, driver):
        modified = driver.now
        driver.later(minutes=1)
        self.told(driver, time=None)
        assert scan(driver, found(driver, etag="e1", time=modified)) == 0

    def test_what_was_modified_after_it_was_announced_is_new(self, driver):
        self.told(driver)
        driver.later(seconds=3)
        assert scan(driver, found(driver, etag="e1")) == 1

    def test_what_has_another_size_is_new(self, driver):
        self.told(driver, size=9)
        assert scan(driver, found(driver, etag="e1", size=10)) == 1

    def test_what_a_look_at_the_object_taught_is_held_against_the_next_scan(self, driver):
        event = self.told(driver)
        ref = ObjectRef("exports", "prod/a.zip", etag="e1", size=9)
        driver.ledger.intake.pin_event(event.id_in("exports"), ref)
        driver.later(hours=1)
        assert scan(driver, found(driver, etag="e1", time=driver.now)) == 0
        assert scan(driver, found(driver, etag="e2", time=driver.now)) == 1

    def test_an_announcement_of_what_was_found_is_known(self, driver):
        modified = driver.now
        assert scan(driver, found(driver, etag="e1", size=9)) == 1
        driver.later(minutes=5)
        late = driver.event(identity="request:1", time=modified + timedelta(seconds=1), size=9)
        assert driver.accept(late).new_events == 0

    @pytest.mark.parametrize("what", [{"seconds": 3}, {"size": 10}, {"time": None}])
    def test_an_announcement_of_something_else_than_was_found_is_new(self, driver, what):
        assert scan(driver, found(driver, etag="e1", size=9)) == 1
        time = driver.now + timedelta(seconds=what.get("seconds", 0))
        event = {"identity": "request:1", "time": time, "size": 9, **what}
        event.pop("seconds", None)
        assert driver.accept(driver.event(**event)).new_events == 1


class TestPinning:
    def test_keeps_what_was_not_announced(self, ledger, driver):
        event = driver.event(identity="r:1")
        driver.accept(event)
        ref = ObjectRef("exports", "prod/a.zip", "v\ud800", "e1", 7)
        for _ in range(2):
            ledger.intake.pin_event(event.id_in("exports"), ref)
            assert ledger.history.event(event.id_in("exports")).object == ref
        assert ledger.history.event(event.id_in("exports")).identity == "r:1"

    def test_never_changes_what_was_announced(self, ledger, driver):
        event = driver.event(etag="e1", size=7)
        driver.accept(event)
        ledger.intake.pin_event(event.id_in("exports"), ObjectRef("x", "y", "v1", "e2", 8))
        kept = ledger.history.event(event.id_in("exports")).object
        assert kept == ObjectRef("exports", "prod/a.zip", "v1", "e1", 7)

    def test_teaches_nothing_of_an_event_that_is_not_there(self, ledger):
        ledger.intake.pin_event("nobody", ObjectRef("exports", "a", etag="e"))
        ledger.intake.pin_event("nobody", ObjectRef("exports", "a"))
        assert ledger.history.event("nobody") is None


class TestTheSameBytesOnceMore:
    """A, then B, then A again, whose news was lost: what lies there is a new upload."""

    def test_is_found_by_the_next_scan_and_only_by_that(self, driver):
        driver.accept(driver.event(etag="A", identity="s:1"))
        driver.later(minutes=1)
        driver.accept(driver.event(etag="B", identity="s:2"))
        driver.later(minutes=1)
        again = found(driver, etag="A")
        assert scan(driver, again) == 1
        driver.later(minutes=1)
        assert scan(driver, again) == 0

    def test_is_known_when_its_news_came(self, driver):
        for number, etag in enumerate("ABA"):
            driver.accept(driver.event(etag=etag, identity=f"s:{number}"))
            driver.later(minutes=1)
        modified = driver.now - timedelta(minutes=1)
        assert scan(driver, found(driver, etag="A", time=modified)) == 0

    def test_is_known_where_nothing_came_between(self, driver):
        driver.accept(driver.event(etag="A", identity="s:1"))
        driver.later(minutes=1)
        assert scan(driver, found(driver, etag="A")) == 0

    def test_is_known_where_what_came_between_is_younger_than_what_lies_there(self, driver):
        modified = driver.now
        driver.accept(driver.event(etag="A", identity="s:1"))
        driver.later(minutes=1)
        driver.accept(driver.event(etag="B", identity="s:2"))
        assert scan(driver, found(driver, etag="A", time=modified + timedelta(seconds=1))) == 0

    def test_is_found_though_it_was_found_before(self, driver):
        assert scan(driver, found(driver, etag="A")) == 1
        driver.later(minutes=1)
        assert scan(driver, found(driver, etag="B")) == 1
        driver.later(minutes=1)
        assert scan(driver, found(driver, etag="A")) == 1
        assert scan(driver, found(driver, etag="A")) == 0

    def test_its_late_news_adds_nothing_to_what_was_found(self, driver):
        for etag in "AB":
            driver.accept(driver.event(etag=etag, identity=f"s:{etag}"))
            driver.later(minutes=1)
        modified = driver.now
        assert scan(driver, found(driver, etag="A")) == 1
        driver.later(minutes=9)
        late = driver.event(etag="A", identity="s:3", time=modified)
        assert driver.accept(late).new_events == 0

    def file(self, driver, etag, changed, type_="file"):
        """A file as the watch and the scan of a folder tell of it, its time set back by `cp -p`."""
        order = f"changed:{changed:020d}"
        old = driver.now.replace(year=2010)
        return driver.event(etag=etag, identity=f"file:{etag}", order=order, type=type_, time=old)

    @pytest.mark.parametrize("type_", ["file", "found"])
    def test_a_file_that_a_copy_brought_back_is_new_once(self, driver, type_):
        for changed, etag in enumerate("AB"):
            assert driver.accept(self.file(driver, etag, changed)).new_events == 1
        back = self.file(driver, "A", 5, type_)
        accepted = driver.accept(back, road=Origin.SCAN if type_ == "found" else Origin.QUEUE)
        assert (accepted.new_events, len(accepted.deliveries)) == (1, 1)
        assert driver.accept(back).verdict == Verdict.DUPLICATE
        assert scan(driver, self.file(driver, "A", 5, "found")) == 0

    def test_a_file_that_was_only_touched_is_the_same(self, driver):
        driver.accept(self.file(driver, "A", 1))
        assert driver.accept(self.file(driver, "A", 2)).new_events == 0
        assert scan(driver, self.file(driver, "A", 3, "found")) == 0

    def test_a_file_that_was_told_of_late_is_the_same(self, driver):
        driver.accept(self.file(driver, "A", 1))
        driver.accept(self.file(driver, "B", 2))
        assert driver.accept(self.file(driver, "A", 1)).new_events == 0


class TestMultipartUploads:
    """Listings give them the time of their beginning; "-" in the etag tells them."""

    def test_late_news_of_one_that_was_found_is_known(self, driver):
        began = driver.now
        driver.later(hours=1)
        assert scan(driver, found(driver, etag="e-7", time=began)) == 1
        done = driver.event(etag="e-7", identity="s:1", time=driver.now - timedelta(minutes=2))
        assert driver.accept(done).new_events == 0
        again = driver.event(etag="e-7", identity="s:2", time=driver.now + timedelta(minutes=2))
        assert driver.accept(again).new_events == 1


class TestAPageOfAListing:
    def test_is_known_object_by_object(self, ledger, driver):
        told = [driver.event(f"{number}.zip", etag="e") for number in range(0, 10, 2)]
        driver.accept(*told)
        page = [found(driver, f"{number}.zip", etag="e") for number in range(10)]
        ids = ledger.intake.known_ids("exports", page)
        assert [id_ is not None for id_ in ids] == [True, False] * 5
        assert ids[::2] == [event.id_in("exports") for event in told]
        assert ledger.intake.known_ids("other", page) == [None] * 10
        assert ledger.intake.known_ids("exports", []) == []

    def test_of_two_buckets_is_not_mixed_up(self, ledger, driver):
        driver.accept(driver.event("a.zip", etag="e", bucket="one"))
        page = [found(driver, "a.zip", etag="e", bucket=name) for name in ("one", "two", "one")]
        ids = ledger.intake.known_ids("exports", page)
        assert [id_ is not None for id_ in ids] == [True, False, True]

    def test_is_asked_for_with_one_query_however_long(self, ledger, driver):
        page = [found(driver, f"{number}.zip", etag="e") for number in range(1000)]
        driver.accept(*page[:300])
        asked = []
        engine = ledger._database._engine
        engine_event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        assert ledger.intake.known_ids("exports", page).count(None) == 700
        assert len([sql for sql in asked if "SELECT" in sql]) == 1

    def test_finds_the_newest_of_an_object_with_a_long_history(self, ledger, driver):
        for number in range(100):
            driver.accept(driver.event(etag=f"e{number}"))
            driver.later(minutes=1)
        assert scan(driver, found(driver, etag="e99", time=driver.now - timedelta(minutes=1))) == 0
        assert scan(driver, found(driver, etag="e98")) == 1, "it came back after another"
