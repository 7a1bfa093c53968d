"""Scans in the ledger: who may, where they go on, and which source fell silent."""

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


class TestOneScan:
    def test_of_a_source_that_nobody_scanned_there_is_none(self, ledger):
        assert ledger.scans.last("exports") is None
        assert not ledger.scans.was_completed("exports")

    def test_a_source_was_scanned_once_a_scan_came_to_its_end(self, ledger, begin, step, end):
        scan = begin()
        assert step(scan)
        assert not ledger.scans.was_completed("exports")
        end(scan)
        assert ledger.scans.was_completed("exports")
        assert not ledger.scans.was_completed("other")

    def test_a_scan_of_the_last_days_is_none_of_the_source(self, ledger, driver, begin, end):
        end(begin(since=driver.now))
        assert not ledger.scans.was_completed("exports")
        assert begin().first

    def test_the_first_marks_as_seen_until_one_came_to_its_end(self, begin, step, end):
        scan = begin()
        assert scan.first
        step(scan, None)
        end(scan, completed=False)
        again = begin()
        assert again.first
        end(again)
        assert not begin().first

    def test_a_first_one_of_everything_marks_nothing_until_it_came_to_its_end(self, begin, end):
        scan = begin(everything=True)
        assert not scan.first
        end(scan, completed=False)
        again = begin()
        assert (again.first, again.resumed) == (False, False)

    def test_everything_of_the_last_days_leaves_the_first_whole_one_to_mark(
        self, driver, begin, end
    ):
        end(begin(everything=True, since=driver.now))
        assert begin().first

    def test_what_it_brought_is_added_up(self, ledger, driver, begin, step):
        scan = begin()
        step(scan, listed=1000, found=3)
        driver.later(seconds=1)
        step(scan, ("exports", "odd \ud800\0/键"), listed=5, found=2)
        kept = ledger.scans.last("exports")
        assert (kept.listed, kept.found, kept.ran) == (1005, 5, driver.now)
        assert kept.cursor == ("exports", "odd \ud800\0/键")


class TestGoingOn:
    def test_one_that_was_cut_off_goes_on_where_it_was(self, driver, begin, step, end):
        scan = begin()
        step(scan)
        end(scan, completed=False)
        started = driver.now
        driver.later(hours=1)
        again = begin("w2")
        assert (again.resumed, again.cursor) == (True, ("exports", "m.zip"))
        assert (again.first, again.started, again.listed) == (True, started, 10)

    def test_one_that_ended_begins_anew(self, ledger, begin, step, end):
        scan = begin()
        step(scan)
        end(scan)
        again = begin()
        assert (again.resumed, again.cursor, again.listed) == (False, None, 0)

    def test_who_asks_for_everything_does_not_go_on_with_one_that_marks(self, begin, step, end):
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
    def test_it_goes_on_with_one_that_looks_at_all_that_is_asked_for(
        self, driver, begin, step, end, days, asked, resumed
    ):
        since = [driver.now - timedelta(days=one) if one else None for one in (days, asked)]
        scan = begin(since=since[0])
        step(scan)
        end(scan, completed=False)
        again = begin(since=since[1])
        assert again.resumed is resumed
        assert again.since == (since[0] if resumed else since[1])


class TestOneAtATime:
    def test_a_second_one_is_told_of_the_first(self, begin, step):
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

    def test_one_that_makes_no_step_is_taken_over_and_can_write_nothing(
        self, ledger, driver, begin, step, end
    ):
        scan = begin()
        step(scan)
        driver.later(seconds=LEASE.total_seconds())
        again = begin("w2")
        assert again.resumed
        assert not step(scan, ("exports", "z.zip"))
        end(scan)
        kept = ledger.scans.last("exports")
        assert (kept.cursor, kept.owner, kept.finished) == (("exports", "m.zip"), "w2", None)

    def test_one_whose_owner_is_dead_is_taken_over_at_once(self, begin, step):
        step(begin())
        with pytest.raises(Conflict):
            begin("w2", dead="somebody else")
        assert begin("w2", dead="w1").resumed

    def test_of_eight_at_once_one_begins(self, begin):
        def attempt(number):
            try:
                return begin(f"w{number}").owner
            except Conflict:
                return None

        with ThreadPoolExecutor(8) as pool:
            owners = list(pool.map(attempt, range(8)))
        assert sum(owner is not None for owner in owners) == 1


class TestSilence:
    """Objects come, and nobody announces them."""

    @pytest.fixture
    def scanned(self, begin, end):
        end(begin())

    def silent(self, driver):
        return driver.ledger.scans.silences(driver.now)

    def test_a_source_that_is_not_scanned_is_not_known_to_be_silent(self, ledger, driver):
        ledger.scans.note_unannounced("exports", [driver.now])
        assert self.silent(driver) == {}

    def test_begins_with_the_oldest_object_once_the_grace_is_over(self, driver, scanned):
        modified = driver.now
        later = [modified + timedelta(minutes=3), modified, modified + timedelta(minutes=1)]
        driver.later(minutes=4)
        driver.ledger.scans.note_unannounced("exports", later)
        assert self.silent(driver) == {"exports": None}
        driver.now = modified + GRACE
        assert self.silent(driver) == {"exports": modified}

    def test_further_objects_do_not_begin_it_anew(self, driver, scanned):
        modified = driver.now
        for _ in range(3):
            driver.ledger.scans.note_unannounced("exports", [driver.now])
            driver.later(minutes=9)
        assert self.silent(driver) == {"exports": modified}

    @pytest.mark.parametrize("road", [Origin.HOOK, Origin.QUEUE])
    def test_ends_with_the_next_notification_whatever_it_holds(self, driver, scanned, road):
        driver.ledger.scans.note_unannounced("exports", [driver.now])
        driver.later(minutes=11)
        assert self.silent(driver)["exports"]
        driver.accept(road=road, verdict=Verdict.IGNORED)
        assert self.silent(driver) == {"exports": None}

    def test_does_not_end_with_a_scan_a_submission_or_another_source(self, driver, scanned):
        driver.ledger.scans.note_unannounced("exports", [driver.now])
        driver.later(minutes=11)
        driver.accept(road=Origin.SCAN)
        driver.accept(road=Origin.SUBMISSION)
        driver.accept(road=Origin.HOOK, source="other")
        assert self.silent(driver)["exports"]

    def test_one_lost_notification_among_others_is_no_silence(self, driver, scanned):
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

    def test_that_it_ended_is_remembered_when_the_notification_is_forgotten(
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
