"""The local handler on a real folder with real file system events."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from relay.errors import Gone, PermanentFailure, Superseded, TemporaryFailure, Unreadable
from relay.handlers.local.handler import Handler
from relay.model import Event, Incoming, Json, ObjectRef, Origin, utc_now
from relay.sources.contract import Queue, QueueMessage
from relay.sources.envelopes import ENVELOPES
from relay.testing.handler_suite import HandlerSuite, Put, read

SETTLE = 0.5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


@pytest.fixture
def settings(folder: Path) -> Json:
    return {"kind": "local", "folder": str(folder), "settle": f"{int(SETTLE * 1000)}ms"}


@pytest.fixture
def handler(settings: Json) -> Handler:
    return Handler("inbox", Handler.Settings.model_validate(settings))


@pytest.fixture
def put(folder: Path) -> Put:
    def put(key: str, body: bytes) -> ObjectRef:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name("new.part").write_bytes(body)
        path.with_name("new.part").rename(path)
        return ObjectRef("inbox", key)

    return put


class TestLocal(HandlerSuite):
    odd_keys: ClassVar[tuple[str, ...]] = tuple(
        key
        for key in HandlerSuite.odd_keys
        if not key.startswith("/") and "/../" not in key and "//" not in key
    )

    @pytest.fixture
    def handler(self, settings: Json) -> Handler:
        return Handler("inbox", Handler.Settings.model_validate({**settings, "settle": "0"}))

    @pytest.fixture
    def record(self) -> Json:
        return {
            "bucket": "inbox",
            "key": "a b/导出.zip",
            "inode": 42,
            "size": 1024,
            "modified": 1_767_225_600_000_000_000,
            "changed": 1_767_225_600_123_456_789,
        }


@pytest.fixture
def watch(handler: Handler) -> Iterator[Queue]:
    with closing(handler.queue()) as queue:
        yield queue


@pytest.fixture
def collect(handler: Handler, watch: Queue) -> Callable[..., list[Event]]:
    """Collect `count` events, or the events of `seconds`."""

    def collect(count: int = 1, seconds: float = 10) -> list[Event]:
        deadline = time.monotonic() + seconds
        events: list[Event] = []
        while len(events) < count and time.monotonic() < deadline:
            messages = watch.receive(0.2)
            watch.delete(messages)
            events += events_of(handler, messages)
        return events

    return collect


def wrapped(message: QueueMessage) -> Incoming:
    return Incoming("inbox", message.body, utc_now(), Origin.QUEUE)


def events_of(handler: Handler, messages: list[QueueMessage]) -> list[Event]:
    bare = ENVELOPES["bare"](handler.settings)
    return [
        e for m in messages for record in bare.unwrap(wrapped(m)) for e in handler.parse(record)
    ]


def keys(events: list[Event]) -> list[str]:
    return sorted(event.object.key for event in events)


class TestWatch:
    def test_a_file_of_a_slow_writer_is_read_after_the_last_write(
        self, folder: Path, settings: Json
    ) -> None:
        handler = Handler("inbox", Handler.Settings.model_validate({**settings, "settle": "2s"}))
        with closing(handler.queue()) as queue:
            with (folder / "slow.zip").open("wb", buffering=0) as file:
                for _ in range(8):
                    file.write(b"x" * 1000)
                    assert queue.receive(0.3) == []
            events = events_of(handler, queue.receive(10))
        assert keys(events) == ["slow.zip"]
        assert events[0].object.size == 8000
        assert len(read(handler, events[0].object)) == 8000

    def test_a_closed_file_does_not_have_to_settle(self, folder: Path, settings: Json) -> None:
        slow = Handler("inbox", Handler.Settings.model_validate({**settings, "settle": "1h"}))
        with closing(slow.queue()) as queue:
            (folder / "closed.zip").write_bytes(b"x")
            assert len(queue.receive(10)) == 1

    def test_a_rename_is_an_event_of_the_new_name(self, folder: Path, collect: Any) -> None:
        (folder / "up.zip.part").write_bytes(b"x")
        (folder / ".up.zip").write_bytes(b"x")
        assert collect(seconds=3 * SETTLE) == []
        (folder / "up.zip.part").rename(folder / "up.zip")
        assert keys(collect()) == ["up.zip"]

    def test_a_file_moved_into_the_folder_is_an_event(
        self, folder: Path, collect: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "outside.zip").write_bytes(b"x")
        os.utime(tmp_path / "outside.zip", (1, 1))
        (tmp_path / "outside.zip").rename(folder / "inside.zip")
        assert keys(collect()) == ["inside.zip"]

    def test_all_files_of_a_folder_moved_into_the_folder_are_events(
        self, folder: Path, collect: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "deep" / "er").mkdir(parents=True)
        (tmp_path / "deep" / "a.zip").write_bytes(b"x")
        (tmp_path / "deep" / "er" / "b.zip").write_bytes(b"x")
        (tmp_path / "deep").rename(folder / "moved")
        assert keys(collect(2)) == ["moved/a.zip", "moved/er/b.zip"]

    def test_a_hard_link_is_an_event(self, folder: Path, collect: Any, tmp_path: Path) -> None:
        (tmp_path / "outside.zip").write_bytes(b"x")
        os.link(tmp_path / "outside.zip", folder / "linked.zip")
        assert keys(collect()) == ["linked.zip"]

    def test_files_in_new_folders_are_not_missed(self, folder: Path, collect: Any) -> None:
        names = [f"new-{number}/a/b/c.zip" for number in range(20)]
        for name in names:
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(b"x")
        assert keys(collect(20)) == sorted(names)

    def test_each_version_of_a_file_is_an_event_in_order(self, folder: Path, collect: Any) -> None:
        (folder / "a.zip").write_bytes(b"new")
        first = collect()[0]
        (folder / "older.part").write_bytes(b"old")
        os.utime(folder / "older.part", (1, 1))  # does not change the order
        (folder / "older.part").rename(folder / "a.zip")
        second = collect()[0]
        assert first.identity != second.identity
        assert first.order < second.order
        assert first.time is not None
        assert second.time is not None
        assert first.time > second.time

    def test_links_folders_and_pipes_are_not_events(
        self, folder: Path, collect: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "secret.zip").write_bytes(b"secret")
        (folder / "link.zip").symlink_to(tmp_path / "secret.zip")
        (folder / "folder.zip").mkdir()
        os.mkfifo(folder / "pipe.zip")
        assert collect(seconds=4 * SETTLE) == []

    def test_a_deleted_file_is_forgotten(self, folder: Path, collect: Any) -> None:
        (folder / "a.zip").write_bytes(b"x")
        (folder / "a.zip").unlink()
        assert collect(seconds=3 * SETTLE) == []

    def test_messages_that_are_not_deleted_are_received_again(
        self, folder: Path, watch: Queue
    ) -> None:
        (folder / "a.zip").write_bytes(b"x")
        first = watch.receive(10)
        assert len(first) == 1
        assert watch.receive(0) == first
        watch.delete(first)
        assert watch.receive(0) == []

    def test_names_that_are_not_utf8_are_read(
        self, folder: Path, collect: Any, handler: Handler
    ) -> None:
        names = [b"caf\xe9.zip", rb"caf\xe9.zip", rb"caf\x5cxe9.zip", "café.zip".encode()]
        for name in names:
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(name)
        events = collect(len(names))
        assert len({event.object.key for event in events}) == len(names)
        assert {read(handler, event.object) for event in events} == set(names)
        for event in events:
            assert json.loads(json.dumps(event.object.key)).encode().decode() == event.object.key

    def test_a_folder_that_was_replaced_is_watched_again(self, folder: Path, collect: Any) -> None:
        folder.rename(folder.with_name("before"))
        with pytest.raises(TemporaryFailure) as raised:
            collect(seconds=0.5)
        assert raised.value.code == "local.no_folder"
        folder.mkdir()
        (folder / "early.zip").write_bytes(b"x")
        assert keys(collect()) == ["early.zip"]
        (folder / "late.zip").write_bytes(b"x")
        assert keys(collect()) == ["late.zip"]

    def test_nothing_is_missed_when_the_kernel_drops_events(
        self, folder: Path, collect: Any, handler: Handler
    ) -> None:
        """More events at once than the kernel's queue can hold, while the reader is blocked."""
        count = 3000
        flood = (
            "import os, sys\n"
            "os.chdir(sys.argv[1])\n"
            "os.mkdir('.noise')\n"
            "for i in range(20000): os.close(os.open(f'.noise/{i}', os.O_CREAT | os.O_WRONLY))\n"
            f"for i in range({count}): os.close(os.open(f'{{i}}.zip', os.O_CREAT | os.O_WRONLY))\n"
        )
        events: list[Event] = []
        process = subprocess.Popen([sys.executable, "-c", flood, str(folder)])
        sys.setswitchinterval(0.5)
        try:
            while process.poll() is None:
                sum(range(10**7))  # holds the interpreter lock, so the reader cannot run
        finally:
            sys.setswitchinterval(0.005)
        deadline = time.monotonic() + 60
        while len({e.object.key for e in events}) < count and time.monotonic() < deadline:
            events += collect(count, 1)
        assert {e.object.key for e in events} == {f"{number}.zip" for number in range(count)}

    def test_without_inotify_only_scans_find_files(
        self, folder: Path, handler: Handler, caplog: pytest.LogCaptureFixture
    ) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no descriptor remains for inotify
        try:
            queue = handler.queue()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with closing(queue):
            (folder / "a.zip").write_bytes(b"x")
            assert queue.receive(SETTLE + 0.5) == []
        assert "folder not watched" in caplog.text
        assert keys(list(handler.scan())) == ["a.zip"]


def keys_behind(handler: Handler, key: str) -> list[str]:
    """The keys in all pages, of size two, of a scan that continues after a key."""
    pages = list(handler.scan_pages(after=("inbox", key), limit=2))
    assert all(page.listed <= 2 for page in pages)
    assert [page.cursor is None for page in pages] == [False] * (len(pages) - 1) + [True] * bool(
        pages
    )
    return [event.object.key for page in pages for event in page.events]


class TestScan:
    def test_scan_and_watch_return_the_same_event(
        self, folder: Path, collect: Any, handler: Handler
    ) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.zip").write_bytes(b"x")
        watched = collect()
        time.sleep(SETTLE)
        scanned = list(handler.scan())
        assert [e.id_in("inbox") for e in scanned] == [e.id_in("inbox") for e in watched]
        assert [e.order for e in scanned] == [e.order for e in watched]
        submitted = handler.event_for(watched[0].object, handler.stat(watched[0].object))
        assert submitted.id_in("inbox") == watched[0].id_in("inbox")

    def test_a_scan_omits_files_that_have_not_settled(
        self, folder: Path, handler: Handler, settings: Json
    ) -> None:
        patient = Handler("inbox", Handler.Settings.model_validate({**settings, "settle": "1h"}))
        (folder / "a.zip").write_bytes(b"x")
        os.utime(folder / "a.zip", (1, 1))
        assert list(patient.scan()) == []
        time.sleep(SETTLE + 0.1)
        assert keys(list(handler.scan())) == ["a.zip"]

    def test_since_is_compared_with_the_time_of_the_last_change(
        self, folder: Path, handler: Handler
    ) -> None:
        (folder / "a.zip").write_bytes(b"x")
        os.utime(folder / "a.zip", (1, 1))
        time.sleep(SETTLE + 0.1)
        now = datetime.now(UTC)
        assert keys(list(handler.scan(now - timedelta(minutes=1)))) == ["a.zip"]
        assert list(handler.scan(now + timedelta(minutes=1))) == []

    def test_hidden_and_unfinished_files_and_links_are_omitted(
        self, folder: Path, settings: Json, put: Put
    ) -> None:
        handler = Handler("inbox", Handler.Settings.model_validate({**settings, "settle": "0"}))
        for name in (".hidden", ".git/a.zip", "a.part", "a.tmp", "b/c.zip"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"x")
        (folder / "link.zip").symlink_to(folder / "b" / "c.zip")
        (folder / "loop").symlink_to(folder)
        assert keys(list(handler.scan())) == ["b/c.zip"]

    def test_a_scan_continues_after_any_file_even_if_it_is_deleted(
        self, folder: Path, settings: Json
    ) -> None:
        handler = Handler("inbox", Handler.Settings.model_validate({**settings, "settle": "0"}))
        names = ["a-b", "a/x", "a/y/z", "a/y0", "a0", "b", "b\\x5c", "é/\udcff"]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"x")
        whole = [event.object.key for event in handler.scan()]
        assert len(whole) == len(names)
        for number, key in enumerate(whole):
            assert keys_behind(handler, key) == whole[number + 1 :]
        (folder / "a" / "y" / "z").unlink()
        (folder / "a" / "y").rmdir()
        assert keys_behind(handler, "a/y/z")[0] == "a/y0"
        assert len(keys_behind(handler, "no/../path")) == len(names) - 1

    def test_a_time_before_1970_is_not_an_error(self, folder: Path, settings: Json) -> None:
        handler = Handler("inbox", Handler.Settings.model_validate({**settings, "settle": "0"}))
        (folder / "a.zip").write_bytes(b"x")
        os.utime(folder / "a.zip", (-5, -5))
        events = list(handler.scan())
        assert keys(events) == ["a.zip"]
        assert read(handler, events[0].object) == b"x"


class TestOpen:
    @pytest.mark.parametrize(
        "key", ["../secret", "/etc/passwd", "a/../../secret", "./a", "a//b", "a/.", "", "a\0b"]
    )
    def test_a_key_outside_of_the_folder_is_rejected(
        self, handler: Handler, tmp_path: Path, key: str
    ) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        with pytest.raises(PermanentFailure) as raised:
            handler.open(ObjectRef("inbox", key))
        assert raised.value.code == "local.leads_out"

    def test_a_link_out_of_the_folder_is_rejected(
        self, handler: Handler, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").mkdir()
        (tmp_path / "secret" / "a.zip").write_bytes(b"secret")
        (folder / "file.zip").symlink_to(tmp_path / "secret" / "a.zip")
        (folder / "sub").symlink_to(tmp_path / "secret")
        for key in ("file.zip", "sub/a.zip"):
            with pytest.raises((PermanentFailure, Gone)):
                handler.open(ObjectRef("inbox", key))

    def test_a_missing_folder_is_not_a_missing_file(
        self, handler: Handler, folder: Path, put: Put
    ) -> None:
        ref = put("sub/a.zip", b"x")
        folder.rename(folder.with_name("unmounted"))
        with pytest.raises(TemporaryFailure) as raised:
            handler.open(ref)
        assert raised.value.code == "local.no_folder"
        folder.mkdir()
        with pytest.raises(Gone):
            handler.open(ref)

    def test_a_pipe_does_not_block(self, handler: Handler, folder: Path) -> None:
        os.mkfifo(folder / "pipe.zip")
        with pytest.raises(PermanentFailure):
            handler.open(ObjectRef("inbox", "pipe.zip"))

    def test_another_bucket_is_rejected(self, handler: Handler, put: Put) -> None:
        with pytest.raises(PermanentFailure):
            handler.open(replace(put("a.zip", b"x"), bucket="other"))

    def test_a_file_that_is_overwritten_during_the_read_is_superseded(
        self, handler: Handler, folder: Path
    ) -> None:
        (folder / "a.zip").write_bytes(b"x" * 1000)
        with closing(handler.open(ObjectRef("inbox", "a.zip"))) as stream:
            assert stream.read(10)
            with (folder / "a.zip").open("r+b") as file:
                file.write(b"y")
            with pytest.raises(Superseded):
                stream.read(10)

    def test_a_file_that_is_truncated_during_the_read_is_superseded(
        self, handler: Handler, folder: Path
    ) -> None:
        (folder / "a.zip").write_bytes(b"x" * 1000)
        with closing(handler.open(ObjectRef("inbox", "a.zip"))) as stream:
            assert stream.read(10)
            os.truncate(folder / "a.zip", 5)
            with pytest.raises(Superseded):
                stream.read(10)

    def test_a_file_that_is_replaced_during_the_read_returns_the_old_bytes(
        self, handler: Handler, put: Put
    ) -> None:
        ref = put("a.zip", b"x" * 1000)
        with closing(handler.open(ref)) as stream:
            assert stream.read(10) == b"x" * 10
            put("a.zip", b"y" * 1000)
            assert stream.read(5000) == b"x" * 990

    def test_a_file_without_read_permission_is_an_error(
        self, handler: Handler, put: Put, request: pytest.FixtureRequest
    ) -> None:
        ref = put("a.zip", b"x")
        (handler.settings.folder / "a.zip").chmod(0)
        if os.geteuid() == 0:  # root can read all files: become another user for this test
            request.addfinalizer(lambda: os.seteuid(0))
            os.seteuid(65534)
        with pytest.raises(PermanentFailure) as raised:
            handler.open(ref)
        assert raised.value.code == "local.denied"


def test_ready_lists_the_checks(handler: Handler, put: Put) -> None:
    put("a.zip", b"x")
    assert handler.ready() == "lists the folder, 1 entries"


def test_a_missing_folder_is_an_invalid_setting(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Handler.Settings(kind="local", folder=tmp_path / "nowhere")


def test_a_record_of_another_folder_is_unreadable(handler: Handler) -> None:
    with pytest.raises(Unreadable):
        list(handler.parse({"bucket": "other", "key": "a"}))
