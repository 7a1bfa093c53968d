"""Tests of recognising an upload that several transports announce."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event as engine_event

from relay.model import ObjectRef, Origin, Verdict


def found(driver, key="prod/a.zip", **more):
    """Return the event of an object in a listing; the time is the modification time."""
    given = {"type": "found", "time": driver.now, **more}
    given.setdefault("identity", f"etag:{given.get('etag')}@{given['time']}")
    return driver.event(key, **given)


def scan(driver, *events):
    """Accept a scan and return the number of new events, which `known_ids` must predict."""
    unknown = driver.ledger.intake.known_ids("exports", events).count(None)
    new_events = driver.accept(*events, origin=Origin.SCAN).new_events
    assert new_events == unknown
    return new_events


class TestListedAndAnnounced:
    """The same content, announced by the storage and found by a scan."""

    def test_a_found_object_whose_version_was_announced_is_known(self, driver):
        announced = driver.accept(driver.event(version="v1", etag="e1", identity="sequencer:9"))
        found = driver.event(version="v1", etag="e1", type="found")
        again = driver.accept(found, origin=Origin.SCAN)
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
        driver.accept(driver.event(etag="e1", type="found", identity="x"), origin=Origin.SCAN)
        late = driver.event(etag="e1", identity="s:1", time=modified + timedelta(seconds=2))
        assert driver.accept(late).new_events == 0

    def test_an_announcement_later_than_the_listing_is_a_new_upload(self, driver):
        modified = driver.now
        driver.accept(driver.event(etag="e1", type="found", identity="x"), origin=Origin.SCAN)
        again = driver.event(etag="e1", identity="s:2", time=modified + timedelta(seconds=3))
        assert driver.accept(again).new_events == 1

    @pytest.mark.parametrize("which", ["found", "announced"])
    def test_without_a_time_the_etag_decides(self, driver, which):
        found_at = None if which == "found" else driver.now
        told_at = None if which == "announced" else driver.later(days=1)
        driver.accept(driver.event(etag="e1", type="found", identity="x", time=found_at))
        assert driver.accept(driver.event(etag="e1", identity="s:1", time=told_at)).new_events == 0

    @pytest.mark.parametrize("time", [None, timedelta(0)])
    def test_the_same_bytes_uploaded_again_are_found_by_a_scan(self, driver, time):
        """The announcement may have arrived without a time."""
        modified = driver.now
        told_at = None if time is None else modified + time
        announced = driver.event(etag="e1", identity="s:1", time=told_at)
        driver.accept(announced)
        assert scan(driver, found(driver, etag="e1", time=modified)) == 0
        again = found(driver, etag="e1", time=driver.later(seconds=3))
        driver.later(seconds=60)
        assert scan(driver, again) == 1
        assert scan(driver, again) == 0
        assert driver.accept(announced).new_events == 0
        third = found(driver, etag="e1", time=again.time + timedelta(seconds=3))
        assert scan(driver, third) == 1

    @pytest.mark.parametrize("ahead", [timedelta(minutes=-10), timedelta(minutes=10)])
    def test_the_clock_of_the_storage_may_differ(self, driver, ahead):
        uploaded = driver.now + ahead
        driver.accept(driver.event(etag="e1", identity="s:1", time=uploaded))
        driver.later(minutes=1)
        assert scan(driver, found(driver, etag="e1", time=uploaded)) == 0
        again = found(driver, etag="e1", time=uploaded + timedelta(seconds=3))
        assert scan(driver, again) == 1
        assert scan(driver, again) == 0

    def test_the_same_bytes_uploaded_before_a_late_announcement_arrived_are_found(self, driver):
        told_at = driver.now
        driver.later(minutes=9)
        driver.accept(driver.event(etag="e1", identity="s:1", time=told_at))
        again = told_at + timedelta(minutes=5)
        assert scan(driver, found(driver, etag="e1", time=again)) == 1

    def test_the_end_of_a_multipart_upload_is_no_second_upload(self, driver):
        started = driver.now
        driver.later(minutes=20)
        assert scan(driver, found(driver, etag="e1-9", time=started)) == 1
        ended = driver.event(etag="e1-9", identity="s:1", time=driver.now)
        assert driver.accept(ended).new_events == 0
        assert scan(driver, found(driver, etag="e1-9", time=started)) == 0

    def test_a_copy_of_an_old_notification_matches_its_own_event(self, driver):
        announced = driver.event(etag="e1", identity="s:1")
        [first] = driver.accept(announced).deliveries
        driver.later(seconds=3)
        assert scan(driver, found(driver, etag="e1")) == 1
        assert driver.accept(announced).deliveries == (first,)

    def test_the_same_bytes_announced_twice_are_two_uploads(self, driver):
        driver.accept(driver.event(etag="e1", identity="s:1"))
        assert driver.accept(driver.event(etag="e1", identity="s:2")).new_events == 1

    def test_an_object_marked_as_seen_is_routed_when_it_is_announced(self, ledger, driver):
        seen = driver.event(etag="e1", type="found", identity="x")
        driver.accept(seen, deliveries=(), origin=Origin.SCAN, verdict=Verdict.IGNORED)
        accepted = driver.accept(driver.event(etag="e1", identity="s:1"))
        assert (accepted.new_events, accepted.verdict, len(accepted.deliveries)) == (
            0,
            Verdict.ACCEPTED,
            1,
        )
        assert ledger.history.delivery(accepted.deliveries[0]).event_id == seen.id_in("exports")

    def test_an_object_marked_as_seen_is_not_routed_by_another_scan(self, driver):
        seen = driver.event(etag="e1", type="found", identity="x")
        driver.accept(seen, deliveries=(), origin=Origin.SCAN, verdict=Verdict.IGNORED)
        again = driver.accept(seen, origin=Origin.SCAN)
        assert (again.deliveries, again.verdict) == ((), Verdict.DUPLICATE)


class TestStoragesWithoutVersionAndEtag:
    """COS, OCI and some SeaweedFS announce neither version nor etag."""

    def announce(self, driver, **more):
        event = driver.event(identity=f"request:{driver.now}", **more)
        driver.accept(event)
        return event

    def test_an_announced_object_is_not_new_to_a_scan(self, driver):
        modified = driver.now
        driver.later(seconds=1)
        self.announce(driver, size=9)
        assert scan(driver, found(driver, etag="e1", size=9, time=modified)) == 0

    def test_an_object_announced_without_a_time_is_not_new_to_a_scan(self, driver):
        modified = driver.now
        driver.later(minutes=1)
        self.announce(driver, time=None)
        assert scan(driver, found(driver, etag="e1", time=modified)) == 0

    def test_an_object_modified_after_the_announcement_is_new(self, driver):
        self.announce(driver)
        driver.later(seconds=3)
        assert scan(driver, found(driver, etag="e1")) == 1

    def test_an_object_with_another_size_is_new(self, driver):
        self.announce(driver, size=9)
        assert scan(driver, found(driver, etag="e1", size=10)) == 1

    def test_pinned_values_are_compared_with_the_next_scan(self, driver):
        modified = driver.now
        event = self.announce(driver)
        ref = ObjectRef("exports", "prod/a.zip", etag="e1", size=9)
        driver.ledger.intake.pin_event(event.id_in("exports"), ref)
        driver.later(hours=1)
        assert scan(driver, found(driver, etag="e1", time=modified)) == 0
        assert scan(driver, found(driver, etag="e2", time=modified)) == 1
        assert scan(driver, found(driver, etag="e1", time=driver.now)) == 1

    def test_an_announcement_of_what_was_found_is_known(self, driver):
        modified = driver.now
        assert scan(driver, found(driver, etag="e1", size=9)) == 1
        driver.later(minutes=5)
        late = driver.event(identity="request:1", time=modified + timedelta(seconds=1), size=9)
        assert driver.accept(late).new_events == 0

    @pytest.mark.parametrize("what", [{"seconds": 3}, {"size": 10}, {"time": None}])
    def test_an_announcement_of_other_content_than_was_found_is_new(self, driver, what):
        assert scan(driver, found(driver, etag="e1", size=9)) == 1
        time = driver.now + timedelta(seconds=what.get("seconds", 0))
        event = {"identity": "request:1", "time": time, "size": 9, **what}
        event.pop("seconds", None)
        assert driver.accept(driver.event(**event)).new_events == 1


class TestPinning:
    def test_stores_values_that_were_not_announced(self, ledger, driver):
        event = driver.event(identity="r:1")
        driver.accept(event)
        ref = ObjectRef("exports", "prod/a.zip", "v\ud800", "e1", 7)
        for _ in range(2):
            ledger.intake.pin_event(event.id_in("exports"), ref)
            assert ledger.history.event(event.id_in("exports")).object == ref
        assert ledger.history.event(event.id_in("exports")).identity == "r:1"

    def test_never_changes_announced_values(self, ledger, driver):
        event = driver.event(etag="e1", size=7)
        driver.accept(event)
        ledger.intake.pin_event(event.id_in("exports"), ObjectRef("x", "y", "v1", "e2", 8))
        kept = ledger.history.event(event.id_in("exports")).object
        assert kept == ObjectRef("exports", "prod/a.zip", "v1", "e1", 7)

    def test_ignores_an_unknown_event(self, ledger):
        ledger.intake.pin_event("nobody", ObjectRef("exports", "a", etag="e"))
        ledger.intake.pin_event("nobody", ObjectRef("exports", "a"))
        assert ledger.history.event("nobody") is None


class TestRestoredContent:
    """Content A, then B, then A again without an announcement: a new upload."""

    def test_is_new_to_the_next_scan_only(self, driver):
        driver.accept(driver.event(etag="A", identity="s:1"))
        driver.later(minutes=1)
        driver.accept(driver.event(etag="B", identity="s:2"))
        driver.later(minutes=1)
        again = found(driver, etag="A")
        assert scan(driver, again) == 1
        driver.later(minutes=1)
        assert scan(driver, again) == 0

    def test_is_known_after_the_announcement(self, driver):
        for number, etag in enumerate("ABA"):
            driver.accept(driver.event(etag=etag, identity=f"s:{number}"))
            driver.later(minutes=1)
        modified = driver.now - timedelta(minutes=1)
        assert scan(driver, found(driver, etag="A", time=modified)) == 0

    def test_is_known_without_other_content_in_between(self, driver):
        modified = driver.now
        driver.accept(driver.event(etag="A", identity="s:1"))
        driver.later(minutes=1)
        assert scan(driver, found(driver, etag="A", time=modified)) == 0

    def test_is_known_if_the_other_content_is_newer(self, driver):
        modified = driver.now
        driver.accept(driver.event(etag="A", identity="s:1"))
        driver.later(minutes=1)
        driver.accept(driver.event(etag="B", identity="s:2"))
        assert scan(driver, found(driver, etag="A", time=modified + timedelta(seconds=1))) == 0

    def test_is_new_even_if_a_scan_found_it_before(self, driver):
        assert scan(driver, found(driver, etag="A")) == 1
        driver.later(minutes=1)
        assert scan(driver, found(driver, etag="B")) == 1
        driver.later(minutes=1)
        assert scan(driver, found(driver, etag="A")) == 1
        assert scan(driver, found(driver, etag="A")) == 0

    def test_a_late_announcement_of_found_content_is_known(self, driver):
        for etag in "AB":
            driver.accept(driver.event(etag=etag, identity=f"s:{etag}"))
            driver.later(minutes=1)
        modified = driver.now
        assert scan(driver, found(driver, etag="A")) == 1
        driver.later(minutes=9)
        late = driver.event(etag="A", identity="s:3", time=modified)
        assert driver.accept(late).new_events == 0

    def file(self, driver, etag, changed, type_="file"):
        """Return the event of a file, as the watcher and the scan of a folder create it."""
        order = f"changed:{changed:020d}"
        old = driver.now.replace(year=2010)
        return driver.event(etag=etag, identity=f"file:{etag}", order=order, type=type_, time=old)

    @pytest.mark.parametrize("type_", ["file", "found"])
    def test_a_restored_file_is_new_once(self, driver, type_):
        for changed, etag in enumerate("AB"):
            assert driver.accept(self.file(driver, etag, changed)).new_events == 1
        back = self.file(driver, "A", 5, type_)
        accepted = driver.accept(back, origin=Origin.SCAN if type_ == "found" else Origin.QUEUE)
        assert (accepted.new_events, len(accepted.deliveries)) == (1, 1)
        assert driver.accept(back).verdict == Verdict.DUPLICATE
        assert scan(driver, self.file(driver, "A", 5, "found")) == 0

    def test_a_touched_file_is_known(self, driver):
        driver.accept(self.file(driver, "A", 1))
        assert driver.accept(self.file(driver, "A", 2)).new_events == 0
        assert scan(driver, self.file(driver, "A", 3, "found")) == 0

    def test_a_late_event_of_a_file_is_known(self, driver):
        driver.accept(self.file(driver, "A", 1))
        driver.accept(self.file(driver, "B", 2))
        assert driver.accept(self.file(driver, "A", 1)).new_events == 0


class TestMultipartUploads:
    """Listings give the start time of a multipart upload, whose etag contains "-"."""

    def test_a_late_announcement_of_a_found_upload_is_known(self, driver):
        began = driver.now
        driver.later(hours=1)
        assert scan(driver, found(driver, etag="e-7", time=began)) == 1
        done = driver.event(etag="e-7", identity="s:1", time=driver.now - timedelta(minutes=2))
        assert driver.accept(done).new_events == 0
        again = driver.event(etag="e-7", identity="s:2", time=driver.now + timedelta(minutes=2))
        assert driver.accept(again).new_events == 1


class TestListingPage:
    def test_is_compared_object_by_object(self, ledger, driver):
        announced = [driver.event(f"{number}.zip", etag="e") for number in range(0, 10, 2)]
        driver.accept(*announced)
        page = [found(driver, f"{number}.zip", etag="e") for number in range(10)]
        ids = ledger.intake.known_ids("exports", page)
        assert [id_ is not None for id_ in ids] == [True, False] * 5
        assert ids[::2] == [event.id_in("exports") for event in announced]
        assert ledger.intake.known_ids("other", page) == [None] * 10
        assert ledger.intake.known_ids("exports", []) == []

    def test_distinguishes_two_buckets(self, ledger, driver):
        driver.accept(driver.event("a.zip", etag="e", bucket="one"))
        page = [found(driver, "a.zip", etag="e", bucket=name) for name in ("one", "two", "one")]
        ids = ledger.intake.known_ids("exports", page)
        assert [id_ is not None for id_ in ids] == [True, False, True]

    def test_is_compared_with_a_single_query(self, ledger, driver):
        page = [found(driver, f"{number}.zip", etag="e") for number in range(1000)]
        driver.accept(*page[:300])
        asked = []
        engine = ledger._database._engine
        engine_event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        assert ledger.intake.known_ids("exports", page).count(None) == 700
        assert len([sql for sql in asked if "SELECT" in sql]) == 1

    def test_finds_the_newest_event_of_an_object_with_a_long_history(self, ledger, driver):
        for number in range(100):
            driver.accept(driver.event(etag=f"e{number}"))
            driver.later(minutes=1)
        assert scan(driver, found(driver, etag="e99", time=driver.now - timedelta(minutes=1))) == 0
        assert scan(driver, found(driver, etag="e98")) == 1, "it came back after another"
