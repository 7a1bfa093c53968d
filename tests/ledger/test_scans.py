"""Tests of storing the progress of scans, and of silent sources."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from relay.ledger import Conflict, NewScan, ScanStep
from relay.ledger.scans import GRACE, LEASE
from relay.ledger.schema import notifications
from relay.model import Origin, Verdict


@pytest.fixture
def begin(ledger, driver):
    def begin(owner="w1", **more):
        return ledger.scans.begin(NewScan(more.pop("source", "exports"), owner, **more), driver.now)

    return begin


@pytest.fixture
def step(ledger, driver):
    def step(scan, place=("exports", "m.zip"), *, listed=10, found=1):
        return ledger.scans.advance(scan, ScanStep(listed, found, place), driver.now)

    return step


@pytest.fixture
def end(ledger, driver):
    def end(scan, *, completed=True):
        ledger.scans.end(scan, driver.now, completed=completed)

    return end


class TestProgress:
    def test_a_source_without_a_scan_has_none(self, ledger):
        assert ledger.scans.last("exports") is None

    def test_a_source_was_scanned_after_a_complete_scan(self, ledger, begin, step, end):
        scan = begin()
        assert step(scan)
        assert not ledger.scans.last("exports").finished
        end(scan)
        assert ledger.scans.last("exports").finished
        assert ledger.scans.last("other") is None

    def test_a_scan_of_the_last_days_is_not_a_complete_scan(self, ledger, driver, begin, end):
        end(begin(since=driver.now))
        assert not ledger.scans.last("exports").finished
        assert begin().first

    def test_scans_mark_objects_as_seen_until_the_first_complete_scan(self, begin, step, end):
        scan = begin()
        assert scan.first
        step(scan, None)
        end(scan, completed=False)
        again = begin()
        assert again.first
        end(again)
        assert not begin().first

    def test_a_first_scan_of_everything_marks_no_objects(self, begin, end):
        scan = begin(everything=True)
        assert not scan.first
        end(scan, completed=False)
        again = begin()
        assert (again.first, again.resumed) == (False, False)

    def test_a_scan_of_the_last_days_does_not_replace_the_first_scan(self, driver, begin, end):
        end(begin(everything=True, since=driver.now))
        assert begin().first

    def test_the_counts_of_the_steps_are_added(self, ledger, driver, begin, step):
        scan = begin()
        step(scan, listed=1000, found=3)
        driver.later(seconds=1)
        step(scan, ("exports", "odd \ud800\0/键"), listed=5, found=2)
        kept = ledger.scans.last("exports")
        assert (kept.listed, kept.found, kept.ran) == (1005, 5, driver.now)
        assert kept.cursor == ("exports", "odd \ud800\0/键")


class TestResuming:
    def test_an_interrupted_scan_is_resumed(self, driver, begin, step, end):
        scan = begin()
        step(scan)
        end(scan, completed=False)
        started = driver.now
        driver.later(hours=1)
        again = begin("w2")
        assert (again.resumed, again.cursor) == (True, ("exports", "m.zip"))
        assert (again.first, again.started, again.listed) == (True, started, 10)

    def test_a_completed_scan_is_not_resumed(self, ledger, begin, step, end):
        scan = begin()
        step(scan)
        end(scan)
        again = begin()
        assert (again.resumed, again.cursor, again.listed) == (False, None, 0)

    def test_a_scan_of_everything_does_not_resume_a_marking_scan(self, begin, step, end):
        scan = begin()
        step(scan)
        end(scan, completed=False)
        again = begin(everything=True)
        assert (again.resumed, again.first) == (False, False)
        step(again)
        end(again, completed=False)
        assert begin(everything=True).resumed

    @pytest.mark.parametrize(
        ("days", "asked", "resumed"),
        [(None, None, True), (None, 2, True), (2, 1, True), (2, 3, False), (2, None, False)],
    )
    def test_a_scan_resumes_an_interrupted_scan_that_covers_it(
        self, driver, begin, step, end, days, asked, resumed
    ):
        since = [driver.now - timedelta(days=age) if age else None for age in (days, asked)]
        scan = begin(since=since[0])
        step(scan)
        end(scan, completed=False)
        again = begin(since=since[1])
        assert again.resumed is resumed
        assert again.since == (since[0] if resumed else since[1])


class TestExclusion:
    def test_a_second_scan_is_refused(self, begin, step):
        step(begin())
        with pytest.raises(Conflict, match="under way: 10 objects") as caught:
            begin("w2")
        assert caught.value.code == "scan.under_way"

    def test_other_sources_are_free(self, begin):
        begin()
        assert begin(source="other")

    def test_the_lease_is_renewed_by_each_step(self, driver, begin, step):
        scan = begin()
        for _ in range(3):
            driver.later(seconds=LEASE.total_seconds() - 1)
            assert step(scan)
            with pytest.raises(Conflict):
                begin("w2")

    def test_a_stalled_scan_is_taken_over_and_cannot_write(self, ledger, driver, begin, step, end):
        scan = begin()
        step(scan)
        driver.later(seconds=LEASE.total_seconds())
        again = begin("w2")
        assert again.resumed
        assert not step(scan, ("exports", "z.zip"))
        end(scan)
        kept = ledger.scans.last("exports")
        assert (kept.cursor, kept.owner, kept.finished) == (("exports", "m.zip"), "w2", None)

    def test_a_scan_of_a_dead_owner_is_taken_over_at_once(self, begin, step):
        step(begin())
        with pytest.raises(Conflict):
            begin("w2", dead="somebody else")
        assert begin("w2", dead="w1").resumed

    def test_a_single_scan_of_eight_begins(self, begin):
        def attempt(number):
            try:
                return begin(f"w{number}").owner
            except Conflict:
                return None

        with ThreadPoolExecutor(8) as pool:
            owners = list(pool.map(attempt, range(8)))
        assert sum(owner is not None for owner in owners) == 1


class TestSilence:
    """New objects appear without notifications."""

    @pytest.fixture
    def scanned(self, begin, end):
        end(begin())

    def silent(self, driver):
        return driver.ledger.scans.silences(driver.now)

    def test_a_source_without_a_scan_is_not_silent(self, ledger, driver):
        ledger.scans.note_unannounced("exports", [driver.now])
        assert self.silent(driver) == {}

    def test_begins_with_the_oldest_object_after_the_grace_period(self, driver, scanned):
        modified = driver.now
        later = [modified + timedelta(minutes=3), modified, modified + timedelta(minutes=1)]
        driver.later(minutes=4)
        driver.ledger.scans.note_unannounced("exports", later)
        assert self.silent(driver) == {"exports": None}
        driver.now = modified + GRACE
        assert self.silent(driver) == {"exports": modified}

    def test_further_objects_do_not_change_the_start(self, driver, scanned):
        modified = driver.now
        for _ in range(3):
            driver.ledger.scans.note_unannounced("exports", [driver.now])
            driver.later(minutes=9)
        assert self.silent(driver) == {"exports": modified}

    @pytest.mark.parametrize("origin", [Origin.HOOK, Origin.QUEUE])
    def test_ends_with_any_next_notification(self, driver, scanned, origin):
        driver.ledger.scans.note_unannounced("exports", [driver.now])
        driver.later(minutes=11)
        assert self.silent(driver)["exports"]
        driver.accept(origin=origin, verdict=Verdict.IGNORED)
        assert self.silent(driver) == {"exports": None}

    def test_does_not_end_with_a_scan_a_submission_or_another_source(self, driver, scanned):
        driver.ledger.scans.note_unannounced("exports", [driver.now])
        driver.later(minutes=11)
        driver.accept(origin=Origin.SCAN)
        driver.accept(origin=Origin.SUBMISSION)
        driver.accept(origin=Origin.HOOK, source="other")
        assert self.silent(driver)["exports"]

    def test_a_single_lost_notification_is_not_a_silence(self, driver, scanned):
        modified = driver.now
        driver.later(minutes=1)
        driver.accept(driver.event(etag="e"))
        driver.later(minutes=30)
        driver.ledger.scans.note_unannounced("exports", [modified])
        assert self.silent(driver) == {"exports": None}

    def test_it_begins_again_after_it_ended(self, driver, scanned):
        driver.ledger.scans.note_unannounced("exports", [driver.now])
        driver.later(minutes=11)
        driver.accept()
        again = driver.later(minutes=1)
        driver.ledger.scans.note_unannounced("exports", [again])
        driver.later(minutes=10)
        assert self.silent(driver) == {"exports": again}

    def test_the_end_is_remembered_after_the_notification_is_deleted(
        self, ledger, driver, scanned, begin, end
    ):
        ledger.scans.note_unannounced("exports", [driver.now])
        driver.later(minutes=11)
        driver.accept()
        end(begin())
        with ledger._database.write() as connection:
            connection.execute(notifications.delete())
        assert self.silent(driver) == {"exports": None}

    def test_a_new_scan_does_not_end_it(self, driver, scanned, begin, end):
        driver.ledger.scans.note_unannounced("exports", [driver.now])
        driver.later(minutes=11)
        end(begin())
        assert self.silent(driver)["exports"]
