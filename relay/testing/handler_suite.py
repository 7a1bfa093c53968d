"""HandlerSuite: the conformance tests for storage handlers; a test class defines four fixtures."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from relay.errors import Gone, RelayError, Superseded, Unreadable
from relay.model import Event, Json, ObjectRef, ScanCursor
from relay.sources.contract import StorageHandler
from relay.testing.mangling import mangle

Put = Callable[[str, bytes], ObjectRef]
"""Stores or replaces the object with this key; returns a reference without a version."""

BYTES = bytes(range(256)) * 40


def assert_bytes(actual: bytes, expected: bytes) -> None:
    """Compare without showing the bytes: pytest needs minutes to compare long ones."""
    same = actual == expected
    assert same, f"{len(actual)} bytes were read, not the {len(expected)} bytes stored"


class HandlerSuite:
    """Inherit as `class TestMine(HandlerSuite)` and define these fixtures:

    handler   the handler under test, which reads what `put` stores; the fixture closes it
    put       a `Put`; a second call with the same key replaces the object
    record    an unwrapped record that announces a single complete object
    settings  a valid [sources.NAME] table for this handler as a dict, with `kind`

    `odd_keys` are keys that the storage must preserve exactly. Remove only keys that the storage
    does not support.
    """

    odd_keys: ClassVar[tuple[str, ...]] = (
        "a b.zip",
        "a+b.zip",
        "a%2Bb.zip",
        "100%.zip",
        "déjà vu/导出.zip",
        "🚀.zip",
        "a\tb.zip",
        "a&b=c?d#e.zip",
        "q'u\"o<t>e.zip",
        "back\\slash.zip",
        "x/../y.zip",
        "x//y.zip",
        "/leading.zip",
        "trailing /a.zip",
    )

    # records

    def test_a_valid_record_is_a_single_event(self, handler: StorageHandler, record: Json) -> None:
        events = list(handler.parse(record))
        assert len(events) == 1
        assert events[0].object.bucket
        assert events[0].object.key
        assert events[0].identity

    def test_the_same_record_gives_the_same_event(
        self, handler: StorageHandler, record: Json
    ) -> None:
        first = [event.id_in("x") for event in handler.parse(record)]
        assert first == [event.id_in("x") for event in handler.parse(deepcopy(record))]

    def test_parsing_does_not_change_the_record(
        self, handler: StorageHandler, record: Json
    ) -> None:
        before = deepcopy(record)
        list(handler.parse(record))
        assert record == before

    def test_unknown_fields_are_ignored(self, handler: StorageHandler, record: Json) -> None:
        more = {**record, "x-new-field": {"deep": [1, None]}}
        assert list(handler.parse(more)) == list(handler.parse(record))

    def test_a_malformed_record_is_read_or_unreadable(
        self, handler: StorageHandler, record: Json
    ) -> None:
        """Each field in turn is missing or has a wrong value."""
        refused = 0
        for path, variant in mangle(record):
            try:
                events = list(handler.parse(variant))
            except Unreadable:
                refused += 1
                continue
            for event in events:
                assert_storable(event, path)
        assert refused, (
            "the handler accepts every malformed record, so it does not check the fields"
        )

    # reading

    @pytest.mark.parametrize(
        ("start", "end"),
        [(0, None), (0, 1), (1, 2), (0, 10240), (100, None), (5000, 5001), (9000, 99999), (7, 7)],
    )
    def test_a_range_has_exactly_the_requested_bytes(
        self, handler: StorageHandler, put: Put, start: int, end: int | None
    ) -> None:
        ref = put("range.zip", BYTES)
        assert_bytes(read(handler, ref, start, end), BYTES[start:end])

    def test_a_range_beyond_the_end_is_empty(self, handler: StorageHandler, put: Put) -> None:
        ref = put("range.zip", BYTES)
        assert read(handler, ref, len(BYTES), None) == b""

    def test_an_empty_object_is_read(self, handler: StorageHandler, put: Put) -> None:
        ref = put("empty.zip", b"")
        assert read(handler, ref) == b""
        assert read(handler, ref, 0, 10) == b""
        assert handler.stat(ref).size == 0

    def test_a_read_returns_at_most_the_requested_bytes(
        self, handler: StorageHandler, put: Put
    ) -> None:
        with closing(handler.open(put("small.zip", BYTES))) as stream:
            parts = list(iter(lambda: stream.read(999), b""))
        assert max(map(len, parts)) <= 999
        assert_bytes(b"".join(parts), BYTES)

    def test_a_read_can_be_resumed(self, handler: StorageHandler, put: Put) -> None:
        ref = pinned(handler, put("resumed.zip", BYTES))
        assert_bytes(read(handler, ref, 0, 4000) + read(handler, ref, 4000), BYTES)

    def test_stat_and_open_return_the_same_info(self, handler: StorageHandler, put: Put) -> None:
        ref = put("info.zip", BYTES)
        info = handler.stat(ref)
        assert info.size == len(BYTES)
        assert info.etag or info.version, "neither etag nor version pins the bytes"
        for start, end in ((0, None), (10, 20)):
            with closing(handler.open(ref, start, end)) as stream:
                assert stream.info == info

    def test_a_pinned_object_that_was_replaced_is_superseded(
        self, handler: StorageHandler, put: Put
    ) -> None:
        ref = pinned(handler, put("twice.zip", b"first" * 100))
        put("twice.zip", b"other" * 100)
        if ref.version is not None and ref.etag is not None:
            assert read(handler, ref) == b"first" * 100
            ref = replace(ref, version=None)
        with pytest.raises(Superseded):
            handler.stat(ref)
        with pytest.raises(Superseded):
            read(handler, ref, 10, 20)

    def test_a_missing_object_is_gone(self, handler: StorageHandler, put: Put) -> None:
        missing = replace(put("there.zip", b"x"), key="not-there.zip")
        for ref in (missing, replace(missing, etag="0" * 32)):
            with pytest.raises((Gone, Superseded)):
                handler.stat(ref)
            with pytest.raises((Gone, Superseded)):
                handler.open(ref)
        with pytest.raises(Gone):
            handler.open(missing)

    def test_an_unusual_key_is_a_distinct_object(self, handler: StorageHandler, put: Put) -> None:
        refs = [put(key, key.encode()) for key in self.odd_keys]
        for key, ref in zip(self.odd_keys, refs, strict=True):
            assert read(handler, ref) == key.encode(), (
                f"{key!r} returned the bytes of another object"
            )

    @pytest.mark.parametrize("key", ["", "..", "../x", "/", "a/", "\0", "\udcff", "k" * 5000])
    def test_an_invalid_key_is_a_relay_error(
        self, handler: StorageHandler, put: Put, key: str
    ) -> None:
        ref = replace(put("there.zip", b"x"), key=key)
        with pytest.raises(RelayError):
            handler.open(ref)

    def test_an_unknown_bucket_is_a_relay_error(self, handler: StorageHandler, put: Put) -> None:
        ref = put("there.zip", b"x")
        for bucket in ("no-such-bucket", "", "not/a bucket", "arn:aws:s3:::x"):
            with pytest.raises(RelayError):
                handler.open(replace(ref, bucket=bucket))

    def test_eight_threads_can_read_concurrently(self, handler: StorageHandler, put: Put) -> None:
        refs = [put(f"thread-{number}.zip", BYTES[number:]) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            bodies = list(pool.map(lambda ref: read(handler, ref), refs * 4))
        for number, body in enumerate(bodies):
            assert_bytes(body, BYTES[number % 8 :])

    def test_a_stream_can_be_closed_early_and_twice(
        self, handler: StorageHandler, put: Put
    ) -> None:
        ref = put("closed.zip", BYTES)
        for _ in range(40):
            stream = handler.open(ref)
            stream.read(10)
            stream.close()
            stream.close()
        assert_bytes(read(handler, ref), BYTES)

    # scanning

    def test_a_found_object_has_an_identity_and_is_pinned(
        self, handler: StorageHandler, put: Put
    ) -> None:
        ref = put("found.zip", BYTES)
        event = handler.event_for(ref, handler.stat(ref))
        assert_storable(event, ())
        assert event.id_in("x") == handler.event_for(ref, handler.stat(ref)).id_in("x")
        assert_bytes(read(handler, event.object), BYTES)

    def test_a_scan_finds_the_stored_objects(self, handler: StorageHandler, put: Put) -> None:
        if type(handler).scan is StorageHandler.scan:
            pytest.skip("this storage cannot list")
        keys = [put(f"scan/{number}.zip", BYTES).key for number in range(3)]
        found = [event for event in handler.scan() if event.object.key in keys]
        assert sorted(event.object.key for event in found) == sorted(keys)
        for event in found:
            assert_storable(event, ())
            assert_bytes(read(handler, event.object), BYTES)

    def test_a_scan_resumes_after_an_interruption(self, handler: StorageHandler, put: Put) -> None:
        if type(handler).scan_pages is StorageHandler.scan_pages:
            pytest.skip("a scan of this storage always restarts")
        for number in range(5):
            put(f"pages/{number}.zip", BYTES)
        complete = scanned(handler)
        assert scanned(handler) == complete, "the order is not stable"
        listed: list[ObjectRef] = []
        for page in handler.scan_pages(limit=2):
            listed += (event.object for event in page.events)
            if page.cursor is not None:
                assert scanned(handler, page.cursor) == complete[len(listed) :]
        assert listed == complete

    # settings

    def test_valid_settings_are_accepted(self, handler: StorageHandler, settings: Json) -> None:
        assert handler.Settings.model_validate(settings)

    def test_the_queue_settings_exist(self, handler: StorageHandler) -> None:
        assert set(handler.queue_settings) <= set(handler.Settings.model_fields)

    def test_an_unknown_setting_is_refused(self, handler: StorageHandler, settings: Json) -> None:
        with pytest.raises(ValidationError, match="x-unknown"):
            handler.Settings.model_validate({**settings, "x-unknown": "secret-value"})


def read(handler: StorageHandler, ref: ObjectRef, start: int = 0, end: int | None = None) -> bytes:
    """Return all bytes of a range."""
    with closing(handler.open(ref, start, end)) as stream:
        return b"".join(iter(lambda: stream.read(1 << 16), b""))


def scanned(handler: StorageHandler, after: ScanCursor | None = None) -> list[ObjectRef]:
    """Return the objects that a scan lists, from a cursor on."""
    return [event.object for page in handler.scan_pages(after=after) for event in page.events]


def pinned(handler: StorageHandler, ref: ObjectRef) -> ObjectRef:
    """Return a reference pinned to the current version of the object."""
    info = handler.stat(ref)
    return replace(ref, version=info.version, etag=info.etag, size=info.size)


def assert_storable(event: Event, where: Any) -> None:
    """Assert that every ledger can store the event."""
    ref = event.object
    assert event.identity, where
    assert ref.bucket, where
    assert ref.key, where
    for text in (ref.bucket, ref.key, ref.version, ref.etag, event.identity, event.order):
        assert "\0" not in (text or ""), where
        assert len((text or "").encode()) <= 8192, where
    assert ref.size is None or (type(ref.size) is int and 0 <= ref.size < 2**63), where
    assert event.time is None or event.time.tzinfo is not None, where
