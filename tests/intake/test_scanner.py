"""Scans in bounded runs find every object once, and warn about silent sources."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from relay.config.load import Route, Settings, SourceSettings, TargetSettings
from relay.errors import PermanentFailure, TemporaryFailure
from relay.intake.intake import Intake
from relay.intake.queue_poller import QueuePoller
from relay.ledger import Conflict, DeliveryQuery, NewScan
from relay.ledger.schema import scans
from relay.model import Event, Incoming, Kind, ObjectInfo, ObjectRef, State
from relay.sources.contract import QueueMessage, ScanPage, StorageHandler
from relay.sources.listing import ListingPage, bucket_pages

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class LimitedSettings(SourceSettings):
    scan_limit: int = 0


class ListingStorage(StorageHandler):
    """A storage that implements only the required methods and `scan`."""

    Settings = LimitedSettings

    def __init__(self, settings):
        super().__init__("shelf", settings)
        self.objects = {}
        self.listed = []
        self.fails_at = None

    def put(self, key, modified, etag="e1"):
        self.objects[key] = ObjectInfo(3, etag, None, modified)

    def parse(self, record):
        ref = ObjectRef("shelf", record["key"], etag=record.get("etag"), size=3)
        yield Event(ref, record["id"], "put", datetime.fromisoformat(record["time"]))

    def open(self, ref, start=0, end=None):
        stream = io.BytesIO(b"abc"[start:end])
        stream.info = self.objects[ref.key]
        return stream

    def scan(self, since=None):
        for key in sorted(self.objects):
            if key == self.fails_at:
                raise TemporaryFailure("shelf.down", "The storage is down")
            self.listed.append(key)
            info = self.objects[key]
            if since is None or info.modified >= since:
                yield self.event_for(ObjectRef("shelf", key), info)


class PagedStorage(ListingStorage):
    """A storage with cursors, in pages of three objects."""

    def scan_pages(self, since=None, after=None, most=None):
        rest = [key for key in sorted(self.objects) if after is None or key > after[1]]
        for start in range(0, len(rest), 3):
            page = rest[start : start + 3]
            if self.fails_at in page:
                raise TemporaryFailure("rack.down", "The storage is down")
            self.listed += page
            refs = [(ObjectRef("shelf", key), self.objects[key]) for key in page]
            events = [self.event_for(ref, info) for ref, info in refs]
            is_last = start + 3 >= len(rest)
            yield ScanPage(tuple(events), len(page), None if is_last else ("shelf", page[-1]))


class BucketStorage(ListingStorage):
    """A storage with several buckets; the keys of `objects` begin with the bucket."""

    def scan_pages(self, since=None, after=None, limit=None):
        return bucket_pages(self, self.list_bucket, since, after, limit)

    def list_bucket(self, bucket, marker, limit):
        names = (name.partition("/") for name in sorted(self.objects))
        keys = [key for of, _, key in names if of == bucket and key > marker]
        for key in keys or [""]:
            found = [(ObjectRef(bucket, key), self.objects[f"{bucket}/{key}"])] if key else []
            yield ListingPage(found, len(found), None if key == (keys or [""])[-1] else key)


class FakeRelay:
    def __init__(self, ledger, handler):
        self.now = NOON
        self.ledger = ledger
        self.handler = handler
        settings = Settings(
            sources={"shelf": handler.settings},
            targets={"prod": TargetSettings(kind="x")},
            routes=(Route(source="shelf", key="*.zip", target="prod"),),
        )
        self.intake = Intake(
            settings, ledger.intake, ledger.history, {"shelf": handler}, clock=self.clock
        )
        self.queue_poller = QueuePoller(self.intake, ledger.scans, clock=self.clock)
        self.scanner = self.queue_poller.scanner

    def clock(self):
        return self.now

    def advance(self, **step):
        self.now += timedelta(**step)
        return self.now

    def put(self, *keys, etag="e1"):
        for key in keys:
            self.handler.put(f"{key}.zip", self.now, etag)

    def scan(self, since=None, **more):
        return self.scanner.scan_once(self.handler, since, **more)

    def notify(self, key, **more):
        """Send a notification of an object to the hook."""
        record = {"key": f"{key}.zip", "id": f"{key}@{self.now}", "time": self.now.isoformat()}
        body = json.dumps({**record, **more}).encode()
        bearer = {"authorization": "Bearer let-me-in"}
        return self.intake.accept(Incoming("shelf", body, self.now, headers=bearer))

    def deliveries(self):
        return self.ledger.history.deliveries(DeliveryQuery(kind=Kind.IMPORT, limit=200)).items

    def imports(self):
        return sorted(d.key.removesuffix(".zip") for d in self.deliveries())


@pytest.fixture
def make(ledger):
    def make(kind=PagedStorage, **source):
        table = {"kind": "x", "token": "let-me-in", **source}
        return FakeRelay(ledger, kind(kind.Settings.model_validate(table)))

    return make


@pytest.fixture(params=[ListingStorage, PagedStorage])
def relay(make, request):
    return make(request.param)


@pytest.fixture
def scanned(relay):
    """A relay whose source was scanned an hour ago."""
    relay.scan()
    relay.advance(hours=1)
    return relay


def test_the_first_scan_marks_existing_objects_and_the_next_finds_new_ones(relay):
    relay.put("a", "b")
    counts = {"listed": 2, "found": 2, "marked": 2, "revived": 0}
    result = {**counts, "first": True, "resumed": False, "finished": True}
    assert relay.scan() == result
    assert relay.imports() == []
    relay.put("c")
    later = {**result, "listed": 3, "marked": 0, "first": False}
    assert relay.scan() == {**later, "found": 1}
    assert relay.scan() == {**later, "found": 0}
    assert relay.imports() == ["c"]


class TestAddedBucket:
    @pytest.fixture
    def reconfigure(self, make):
        def reconfigure(relay, *buckets, **source):
            """Restart a relay with other buckets in the configuration."""
            again = make(BucketStorage, buckets=buckets, **source)
            again.handler.objects = relay.handler.objects
            again.now = relay.advance(hours=1)
            return again

        return reconfigure

    @pytest.fixture
    def relay(self, make):
        relay = make(BucketStorage, buckets=("old",))
        relay.put("old/a", "new/a", "new/b")
        relay.scan()
        return relay

    @pytest.mark.parametrize("buckets", [("old", "new"), ("new", "old")])
    def test_existing_objects_of_an_added_bucket_are_marked(self, relay, reconfigure, buckets):
        relay = reconfigure(relay, *buckets)
        relay.put("old/b")
        result = relay.scan()
        assert (result["first"], result["found"], result["marked"]) == (False, 3, 2)
        assert relay.imports() == ["b"]
        relay.put("new/c")
        result = relay.scan()
        assert (result["found"], result["marked"]) == (1, 0)
        assert relay.imports() == ["b", "c"]

    def test_everything_of_an_added_bucket_can_be_delivered(self, relay, reconfigure):
        relay = reconfigure(relay, "old", "new", scan_limit=2)
        assert relay.scan(everything=True)["finished"] is False
        result = relay.scan()
        assert (result["finished"], result["marked"]) == (True, 0)
        assert relay.imports() == ["a", "b"]

    def test_an_empty_added_bucket_is_scanned_like_any_other_afterwards(self, relay, reconfigure):
        relay = reconfigure(relay, "old", "empty")
        relay.scan()
        relay.put("empty/a")
        assert relay.scan()["marked"] == 0
        assert relay.imports() == ["a"]

    def test_a_bucket_that_is_added_during_an_interrupted_scan_is_marked(self, make, reconfigure):
        relay = make(BucketStorage, buckets=("old",), scan_limit=1)
        relay.put("old/a", "old/b", "new/a")
        assert relay.scan()["finished"] is False
        relay = reconfigure(relay, "new", "old")
        restarted = relay.scan()
        assert (restarted["resumed"], restarted["marked"]) == (False, 2)
        relay.put("new/b")
        relay.scan()
        assert relay.imports() == ["b"]

    def test_an_interrupted_scan_of_an_added_bucket_goes_on_marking(self, relay, reconfigure):
        relay = reconfigure(relay, "old", "new", scan_limit=2)
        assert (relay.scan()["marked"], relay.scan()["marked"]) == (1, 1)
        assert relay.imports() == []

    def test_a_scan_of_the_last_days_is_not_the_first_scan_of_a_bucket(self, relay, reconfigure):
        relay = reconfigure(relay, "old", "new")
        relay.scan(relay.now - timedelta(minutes=1))
        assert relay.scan()["marked"] == 2
        assert relay.imports() == []

    def test_a_bucket_that_was_removed_and_added_again_is_known(self, relay, reconfigure):
        relay = reconfigure(relay, "new")
        relay.scan()
        relay = reconfigure(relay, "old", "new")
        relay.put("old/b")
        relay.scan()
        assert relay.imports() == ["b"]

    def test_buckets_that_an_earlier_version_scanned_are_known(self, ledger, relay, reconfigure):
        with ledger._database.write() as connection:
            connection.execute(update(scans).values(buckets=None))
        relay = reconfigure(relay, "old", "new")
        relay.scan()
        assert relay.imports() == ["a", "b"]

    def test_marked_objects_do_not_make_a_source_silent(self, ledger, relay, reconfigure):
        relay = reconfigure(relay, "old", "new")
        relay.scan()
        assert ledger.scans.silences(relay.advance(hours=1)) == {"shelf": None}


def test_a_found_object_is_due_at_once(scanned):
    scanned.put("a")
    scanned.scan()
    [delivery] = scanned.deliveries()
    assert (delivery.state, delivery.due) == (State.PENDING, scanned.now)


def test_a_first_scan_of_everything_delivers_existing_objects(relay):
    relay.put("a", "b")
    assert relay.scan(everything=True)["first"] is False
    assert relay.imports() == ["a", "b"]
    assert relay.scan()["found"] == 0


def test_a_first_scan_of_the_last_days_leaves_the_rest_to_the_first_full_scan(make):
    relay = make(ListingStorage)
    relay.put("old")
    relay.advance(days=9)
    relay.put("new")
    assert relay.scan(relay.now - timedelta(days=2), everything=True)["found"] == 1
    full_scan = relay.scan()
    assert (full_scan["found"], full_scan["first"]) == (1, True)
    assert relay.imports() == ["new"], "old exports are not imported by surprise"


def test_an_object_that_was_restored_to_earlier_content_is_found(scanned):
    for etag in ("A", "B"):
        scanned.put("a", etag=etag)
        scanned.notify("a", etag=etag)
        scanned.advance(minutes=1)
    scanned.put("a", etag="A")
    assert scanned.scan()["found"] == 1
    assert scanned.scan()["found"] == 0


def test_an_object_announced_without_an_etag_is_not_found_again(scanned):
    scanned.put("a")
    scanned.notify("a")
    assert scanned.scan()["found"] == 0
    [delivery] = scanned.deliveries()
    pinned = ObjectRef("shelf", "a.zip", etag="e1", size=3)
    scanned.ledger.intake.pin_event(delivery.event_id, pinned)
    scanned.advance(days=1)
    assert scanned.scan()["found"] == 0
    scanned.put("a", etag="e2")
    assert scanned.scan()["found"] == 1


class TestRuns:
    def test_a_run_ends_at_the_limit_and_the_next_run_resumes_there(self, make):
        relay = make(scan_limit=6)
        relay.put(*"abcdefgh")
        first = relay.scan(everything=True)
        assert (first["listed"], first["finished"], first["resumed"]) == (6, False, False)
        assert relay.imports() == list("abcdef")
        second = relay.scan()
        assert (second["listed"], second["finished"], second["resumed"]) == (2, True, True)
        assert relay.handler.listed == [f"{key}.zip" for key in "abcdefgh"]
        assert relay.imports() == list("abcdefgh")
        assert relay.scan()["resumed"] is False

    def test_a_first_scan_in_several_runs_marks_all_objects(self, make):
        relay = make(scan_limit=3)
        relay.put(*"abcdefgh")
        runs = [relay.scan() for _ in range(3)]
        assert [run["first"] for run in runs] == [True] * 3
        assert [run["finished"] for run in runs] == [False, False, True]
        assert relay.imports() == []

    def test_a_limit_of_zero_means_no_limit(self, make):
        relay = make(scan_limit=0)
        relay.put(*"abcdefgh")
        assert relay.scan()["listed"] == 8

    def test_a_storage_without_cursors_is_scanned_to_the_end(self, make):
        relay = make(ListingStorage, scan_limit=3)
        relay.put(*"abcdefgh")
        assert relay.scan()["listed"] == 8

    def test_an_interrupted_run_is_resumed(self, make):
        relay = make()
        relay.put(*"abcdefgh")
        relay.handler.fails_at = "e.zip"
        with pytest.raises(TemporaryFailure):
            relay.scan(everything=True)
        assert relay.imports() == list("abc")
        relay.handler.fails_at = None
        assert relay.scan()["resumed"] is True
        assert relay.handler.listed == [f"{key}.zip" for key in "abcdefgh"]
        assert relay.imports() == list("abcdefgh")

    def test_a_run_whose_cursor_is_rejected_starts_over(self, make, monkeypatch):
        relay = make(scan_limit=3)
        relay.put(*"abcd")
        relay.scan(everything=True)

        def reject_cursor(since=None, after=None, most=None):
            raise PermanentFailure("rack.token", "The token of the listing is too old")

        monkeypatch.setattr(relay.handler, "scan_pages", reject_cursor)
        with pytest.raises(PermanentFailure):
            relay.scan()
        monkeypatch.undo()
        restarted = relay.scan()
        assert (restarted["resumed"], restarted["first"], restarted["found"]) == (False, False, 0)
        assert relay.scan()["found"] == 1
        assert relay.imports() == list("abcd")

    def test_a_run_that_is_asked_to_stop_ends_after_the_current_page(self, make):
        relay = make()
        relay.put(*"abcdefgh")
        result = relay.scan(progress=lambda *_: relay.queue_poller.ask_to_stop())
        assert (result["listed"], result["finished"]) == (3, False)

    def test_progress_is_reported_page_by_page(self, make):
        relay = make()
        relay.put(*"abcd")
        seen = []
        relay.scan(progress=lambda *numbers: seen.append(numbers))
        assert seen == [(3, 3), (4, 4)]

    def test_a_dry_run_changes_nothing(self, scanned):
        scanned.put("a", "b")
        scanned.notify("a", etag="e1")
        unannounced = scanned.scanner.list_unannounced(scanned.handler)
        assert [event.object.key for event in unannounced] == ["b.zip"]
        assert scanned.imports() == ["a"]

    def test_a_second_run_at_the_same_time_is_refused_and_lists_nothing(self, make, ledger):
        relay = make()
        relay.put("a")
        ledger.scans.begin(NewScan("shelf", "another process"), relay.now)
        with pytest.raises(Conflict, match="under way"):
            relay.scan()
        assert relay.handler.listed == []

    def test_a_run_that_was_taken_over_leaves_the_rest_to_the_other_process(self, make, ledger):
        relay = make()
        relay.put(*"abcdefgh")

        def lose_scan(*_):
            relay.advance(minutes=6)
            ledger.scans.begin(NewScan("shelf", "another process"), relay.now)

        assert relay.scan(progress=lose_scan)["finished"] is False
        assert relay.handler.listed == ["a.zip", "b.zip", "c.zip"]
        assert ledger.scans.last("shelf").owner == "another process"


class TestSchedule:
    def scans_now(self, relay, started=NOON, interval=timedelta(minutes=15)):
        """Whether the source is scanned now; the wait for the next scan ends at once."""
        before = len(relay.handler.listed)
        relay.queue_poller._stopping.set()
        relay.queue_poller._scan_when_due(relay.handler, started, interval)
        relay.queue_poller._stopping.clear()
        return len(relay.handler.listed) > before

    def test_a_source_is_scanned_at_the_start_and_then_after_each_interval(self, make):
        relay = make()
        relay.put("a")
        assert self.scans_now(relay)
        relay.advance(minutes=14)
        assert not self.scans_now(relay)
        relay.advance(minutes=1)
        assert self.scans_now(relay)

    def test_a_process_that_starts_later_scans_at_once(self, make):
        relay = make()
        relay.put("a")
        relay.scan()
        relay.advance(minutes=1)
        assert self.scans_now(relay, started=relay.now)

    def test_a_scan_by_another_process_counts(self, make):
        relay = make()
        relay.put("a")
        relay.advance(minutes=1)
        relay.scan()
        assert not self.scans_now(relay, started=NOON)

    def test_nothing_is_scanned_while_another_process_scans(self, make, ledger):
        relay = make()
        relay.put("a")
        ledger.scans.begin(NewScan("shelf", "another process"), NOON - timedelta(minutes=1))
        assert not self.scans_now(relay)


class TestSilence:
    @pytest.fixture(autouse=True)
    def _capture_warnings(self, caplog):
        caplog.set_level(logging.WARNING, "relay")

    def warnings(self, caplog):
        return [record for record in caplog.records if record.message == "source silent"]

    def test_unannounced_objects_cause_a_single_warning(self, scanned, caplog):
        scanned.put("a")
        modified = scanned.now
        scanned.advance(minutes=11)
        scanned.scan()
        [record] = self.warnings(caplog)
        assert (record.source, record.since) == ("shelf", modified.isoformat())
        assert "relay sources setup shelf" in record.hint
        scanned.advance(minutes=15)
        scanned.scan()
        assert len(self.warnings(caplog)) == 1

    def test_objects_that_were_found_young_cause_a_warning_in_a_later_scan(self, scanned, caplog):
        scanned.put("a")
        scanned.advance(minutes=1)
        scanned.scan()
        assert not self.warnings(caplog)
        scanned.advance(minutes=10)
        assert scanned.scan()["found"] == 0
        assert self.warnings(caplog)

    def test_silence_ends_with_the_next_notification_and_may_begin_again(self, scanned, caplog):
        for number in range(2):
            scanned.put(f"a{number}")
            scanned.advance(minutes=11)
            scanned.scan()
            assert len(self.warnings(caplog)) == number + 1
            assert scanned.ledger.scans.silences(scanned.now)["shelf"]
            scanned.notify(f"b{number}", etag="e1")
            assert scanned.ledger.scans.silences(scanned.now) == {"shelf": None}
            scanned.advance(seconds=1)

    def test_the_first_scan_causes_no_warning(self, relay, caplog):
        relay.put("a")
        relay.advance(days=1)
        relay.scan()
        relay.advance(days=1)
        relay.scan()
        assert not self.warnings(caplog)

    def test_a_source_that_is_only_scanned_is_never_silent(self, make, caplog):
        relay = make(ListingStorage, token=None)
        relay.scan()
        relay.put("a")
        relay.advance(days=1)
        assert relay.scan()["found"] == 1
        assert not self.warnings(caplog)

    def test_a_source_with_only_a_queue_can_be_silent(self, make, caplog):
        class QueueStorage(ListingStorage):
            closed = 0

            def queue(self):
                return self

            def receive(self, wait):
                return [QueueMessage(b"", "r")]

            def close(self):
                self.closed += 1

        relay = make(QueueStorage, token=None)
        relay.scan()
        relay.put("a")
        relay.advance(days=1)
        relay.scan()
        assert self.warnings(caplog)
        assert relay.handler.closed == 1

    def test_a_storage_that_relay_watches_is_never_silent(self, make, caplog):
        class WatchedStorage(ListingStorage):
            announces = False

        relay = make(WatchedStorage)
        relay.scan()
        relay.put("a")
        relay.advance(days=1)
        assert relay.scan()["found"] == 1
        assert not self.warnings(caplog)
