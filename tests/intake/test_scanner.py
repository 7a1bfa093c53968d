"""Scans in bounded runs: nothing left out, nothing twice, and word of sources that fell silent."""

from __future__ import annotations

import io
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from relay.config.load import Route, Settings, SourceSettings, TargetSettings
from relay.errors import PermanentFailure, TemporaryFailure
from relay.intake.intake import Intake
from relay.intake.queue_poller import QueuePoller
from relay.ledger import Conflict, DeliveryQuery, NewScan
from relay.model import Event, Incoming, Kind, ObjectInfo, ObjectRef, State
from relay.sources.contract import QueueMessage, ScanPage, StorageHandler

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Limited(SourceSettings):
    scan_limit: int = 0


class Shelf(StorageHandler):
    """A stranger's storage, which implements what the contract asks for and no more."""

    Settings = Limited

    def __init__(self, settings):
        super().__init__("shelf", settings)
        self.objects = {}
        self.listed = []
        self.breaks_at = None

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
            if key == self.breaks_at:
                raise TemporaryFailure("shelf.down", "The shelf is down")
            self.listed.append(key)
            info = self.objects[key]
            if since is None or info.modified >= since:
                yield self.event_for(ObjectRef("shelf", key), info)


class Rack(Shelf):
    """One that goes on from any place, in pages of three."""

    def scan_pages(self, since=None, after=None, most=None):
        rest = [key for key in sorted(self.objects) if after is None or key > after[1]]
        for start in range(0, len(rest), 3):
            page = rest[start : start + 3]
            if self.breaks_at in page:
                raise TemporaryFailure("rack.down", "The rack is down")
            self.listed += page
            refs = [(ObjectRef("shelf", key), self.objects[key]) for key in page]
            events = [self.event_for(*one) for one in refs]
            is_last = start + 3 >= len(rest)
            yield ScanPage(tuple(events), len(page), None if is_last else ("shelf", page[-1]))


class Relay:
    def __init__(self, ledger, handler):
        self.now = NOON
        self.ledger = ledger
        self.handler = handler
        settings = Settings(
            sources={"shelf": handler.settings},
            targets={"prod": TargetSettings(kind="x")},
            routes=(Route(source="shelf", key="*.zip", target="prod"),),
        )
        self.intake = Intake(settings, ledger, {"shelf": handler}, clock=self.clock)
        self.queue_poller = QueuePoller(self.intake, clock=self.clock)
        self.scanner = self.queue_poller.scanner

    def clock(self):
        return self.now

    def later(self, **step):
        self.now += timedelta(**step)
        return self.now

    def put(self, *keys, etag="e1"):
        for key in keys:
            self.handler.put(f"{key}.zip", self.now, etag)

    def scan(self, since=None, **more):
        return self.scanner.scan_once(self.handler, since, **more)

    def tell(self, key, **more):
        """The storage's notification of an object, by the hook."""
        record = {"key": f"{key}.zip", "id": f"{key}@{self.now}", "time": self.now.isoformat()}
        body = json.dumps({**record, **more}).encode()
        bearer = {"authorization": "Bearer let-me-in"}
        return self.intake.accept(Incoming("shelf", body, self.now, headers=bearer))

    def deliveries(self):
        return self.ledger.history.deliveries(DeliveryQuery(kind=Kind.IMPORT, limit=200)).items

    def imports(self):
        return sorted(one.key.removesuffix(".zip") for one in self.deliveries())


@pytest.fixture
def make(ledger):
    def make(kind=Rack, **source):
        table = {"kind": "x", "token": "let-me-in", **source}
        return Relay(ledger, kind(kind.Settings.model_validate(table)))

    return make


@pytest.fixture(params=[Shelf, Rack])
def relay(make, request):
    return make(request.param)


@pytest.fixture
def scanned(relay):
    """A relay whose source was scanned once, an hour ago."""
    relay.scan()
    relay.later(hours=1)
    return relay


def test_the_first_scan_marks_what_is_there_and_the_next_finds_what_came(relay):
    relay.put("a", "b")
    told = {"listed": 2, "found": 2, "first": True, "resumed": False, "finished": True}
    assert relay.scan() == told
    assert relay.imports() == []
    relay.put("c")
    assert relay.scan() == {**told, "listed": 3, "found": 1, "first": False}
    assert relay.scan() == {**told, "listed": 3, "found": 0, "first": False}
    assert relay.imports() == ["c"]


def test_what_is_found_is_due_at_once(scanned):
    scanned.put("a")
    scanned.scan()
    [delivery] = scanned.deliveries()
    assert (delivery.state, delivery.due) == (State.PENDING, scanned.now)


def test_a_first_scan_of_everything_delivers_what_is_there(relay):
    relay.put("a", "b")
    assert relay.scan(everything=True)["first"] is False
    assert relay.imports() == ["a", "b"]
    assert relay.scan()["found"] == 0


def test_a_first_scan_of_the_last_days_leaves_the_rest_to_the_first_whole_one(make):
    relay = make(Shelf)
    relay.put("old")
    relay.later(days=9)
    relay.put("new")
    assert relay.scan(relay.now - timedelta(days=2), everything=True)["found"] == 1
    whole = relay.scan()
    assert (whole["found"], whole["first"]) == (1, True)
    assert relay.imports() == ["new"], "old exports are not imported by surprise"


def test_an_object_that_came_back_after_another_is_found(scanned):
    for etag in ("A", "B"):
        scanned.put("a", etag=etag)
        scanned.tell("a", etag=etag)
        scanned.later(minutes=1)
    scanned.put("a", etag="A")
    assert scanned.scan()["found"] == 1
    assert scanned.scan()["found"] == 0


def test_what_is_announced_without_naming_its_bytes_is_not_found_again(scanned):
    scanned.put("a")
    scanned.tell("a")
    assert scanned.scan()["found"] == 0
    [delivery] = scanned.deliveries()
    looked_at = ObjectRef("shelf", "a.zip", etag="e1", size=3)
    scanned.ledger.intake.pin_event(delivery.event_id, looked_at)
    scanned.later(days=1)
    assert scanned.scan()["found"] == 0
    scanned.put("a", etag="e2")
    assert scanned.scan()["found"] == 1


class TestRuns:
    def test_a_run_ends_at_its_limit_and_the_next_goes_on_there(self, make):
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

    def test_a_first_scan_in_several_runs_marks_to_its_end(self, make):
        relay = make(scan_limit=3)
        relay.put(*"abcdefgh")
        runs = [relay.scan() for _ in range(3)]
        assert [run["first"] for run in runs] == [True] * 3
        assert [run["finished"] for run in runs] == [False, False, True]
        assert relay.imports() == []

    def test_a_limit_of_none_is_none(self, make):
        relay = make(scan_limit=0)
        relay.put(*"abcdefgh")
        assert relay.scan()["listed"] == 8

    def test_a_storage_that_cannot_go_on_is_scanned_to_its_end(self, make):
        relay = make(Shelf, scan_limit=3)
        relay.put(*"abcdefgh")
        assert relay.scan()["listed"] == 8

    def test_one_that_broke_off_goes_on_where_it_was(self, make):
        relay = make()
        relay.put(*"abcdefgh")
        relay.handler.breaks_at = "e.zip"
        with pytest.raises(TemporaryFailure):
            relay.scan(everything=True)
        assert relay.imports() == list("abc")
        relay.handler.breaks_at = None
        assert relay.scan()["resumed"] is True
        assert relay.handler.listed == [f"{key}.zip" for key in "abcdefgh"]
        assert relay.imports() == list("abcdefgh")

    def test_one_that_cannot_go_on_any_more_begins_anew(self, make, monkeypatch):
        relay = make(scan_limit=3)
        relay.put(*"abcd")
        relay.scan(everything=True)

        def forgotten(since=None, after=None, most=None):
            raise PermanentFailure("rack.token", "The token of the listing is too old")

        monkeypatch.setattr(relay.handler, "scan_pages", forgotten)
        with pytest.raises(PermanentFailure):
            relay.scan()
        monkeypatch.undo()
        again = relay.scan()
        assert (again["resumed"], again["first"], again["found"]) == (False, False, 0)
        assert relay.scan()["found"] == 1
        assert relay.imports() == list("abcd")

    def test_one_that_is_asked_to_stop_ends_after_its_page(self, make):
        relay = make()
        relay.put(*"abcdefgh")
        told = relay.scan(progress=lambda *_: relay.queue_poller.ask_to_stop())
        assert (told["listed"], told["finished"]) == (3, False)

    def test_its_progress_is_told_page_by_page(self, make):
        relay = make()
        relay.put(*"abcd")
        seen = []
        relay.scan(progress=lambda *numbers: seen.append(numbers))
        assert seen == [(3, 3), (4, 4)]

    def test_a_dry_run_changes_nothing(self, scanned):
        scanned.put("a", "b")
        scanned.tell("a", etag="e1")
        unknown = scanned.scanner.list_unannounced(scanned.handler)
        assert [event.object.key for event in unknown] == ["b.zip"]
        assert scanned.imports() == ["a"]

    def test_a_second_one_at_the_same_time_is_refused_and_looks_at_nothing(self, make, ledger):
        relay = make()
        relay.put("a")
        ledger.scans.begin(NewScan("shelf", "another process"), relay.now)
        with pytest.raises(Conflict, match="under way"):
            relay.scan()
        assert relay.handler.listed == []

    def test_one_that_was_taken_over_meanwhile_leaves_the_rest_to_the_other(self, make, ledger):
        relay = make()
        relay.put(*"abcdefgh")

        def slow(*_):
            relay.later(minutes=6)
            ledger.scans.begin(NewScan("shelf", "another process"), relay.now)

        assert relay.scan(progress=slow)["finished"] is False
        assert relay.handler.listed == ["a.zip", "b.zip", "c.zip"]
        assert ledger.scans.last("shelf").owner == "another process"


class TestWhenItIsDue:
    def scans(self, relay, began=NOON, every=timedelta(minutes=15)):
        """Whether it is scanned now; the wait for the time to come ends at once."""
        before = len(relay.handler.listed)
        relay.queue_poller._stopping.set()
        relay.queue_poller._scan_when_due(relay.handler, began, every)
        relay.queue_poller._stopping.clear()
        return len(relay.handler.listed) > before

    def test_at_the_start_and_then_so_long_after_the_last(self, make):
        relay = make()
        relay.put("a")
        assert self.scans(relay)
        relay.later(minutes=14)
        assert not self.scans(relay)
        relay.later(minutes=1)
        assert self.scans(relay)

    def test_a_process_that_starts_later_scans_at_once(self, make):
        relay = make()
        relay.put("a")
        relay.scan()
        relay.later(minutes=1)
        assert self.scans(relay, began=relay.now)

    def test_what_another_process_did_need_not_be_done(self, make):
        relay = make()
        relay.put("a")
        relay.later(minutes=1)
        relay.scan()
        assert not self.scans(relay, began=NOON)

    def test_while_another_is_at_it_nothing_is_done(self, make, ledger):
        relay = make()
        relay.put("a")
        ledger.scans.begin(NewScan("shelf", "another process"), NOON - timedelta(minutes=1))
        assert not self.scans(relay)


class TestSilence:
    @pytest.fixture(autouse=True)
    def _heard(self, caplog):
        caplog.set_level(logging.WARNING, "relay")

    def warned(self, caplog):
        return [one for one in caplog.records if one.message == "source silent"]

    def test_of_a_source_whose_objects_nobody_announces_is_warned_once(self, scanned, caplog):
        scanned.put("a")
        modified = scanned.now
        scanned.later(minutes=11)
        scanned.scan()
        [record] = self.warned(caplog)
        assert (record.source, record.since) == ("shelf", modified.isoformat())
        assert "relay sources setup shelf" in record.hint
        scanned.later(minutes=15)
        scanned.scan()
        assert len(self.warned(caplog)) == 1

    def test_is_told_of_by_a_later_scan_when_the_objects_were_found_young(self, scanned, caplog):
        scanned.put("a")
        scanned.later(minutes=1)
        scanned.scan()
        assert not self.warned(caplog)
        scanned.later(minutes=10)
        assert scanned.scan()["found"] == 0
        assert self.warned(caplog)

    def test_ends_with_the_next_notification_and_may_begin_again(self, scanned, caplog):
        for number in range(2):
            scanned.put(f"a{number}")
            scanned.later(minutes=11)
            scanned.scan()
            assert len(self.warned(caplog)) == number + 1
            assert scanned.ledger.scans.silences(scanned.now)["shelf"]
            scanned.tell(f"b{number}", etag="e1")
            assert scanned.ledger.scans.silences(scanned.now) == {"shelf": None}
            scanned.later(seconds=1)

    def test_the_first_scan_is_no_reason_for_it(self, relay, caplog):
        relay.put("a")
        relay.later(days=1)
        relay.scan()
        relay.later(days=1)
        relay.scan()
        assert not self.warned(caplog)

    def test_a_source_that_is_only_scanned_is_never_silent(self, make, caplog):
        relay = make(Shelf, token=None)
        relay.scan()
        relay.put("a")
        relay.later(days=1)
        assert relay.scan()["found"] == 1
        assert not self.warned(caplog)

    def test_a_source_with_a_queue_alone_can_be_silent(self, make, caplog):
        class Queued(Shelf):
            closed = 0

            def queue(self):
                return self

            def receive(self, wait):
                return [QueueMessage(b"", "r")]

            def close(self):
                self.closed += 1

        relay = make(Queued, token=None)
        relay.scan()
        relay.put("a")
        relay.later(days=1)
        relay.scan()
        assert self.warned(caplog)
        assert relay.handler.closed == 1

    def test_a_storage_that_relay_watches_itself_is_never_silent(self, make, caplog):
        class Watched(Shelf):
            announces = False

        relay = make(Watched)
        relay.scan()
        relay.put("a")
        relay.later(days=1)
        assert relay.scan()["found"] == 1
        assert not self.warned(caplog)
