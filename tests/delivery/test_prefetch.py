"""A small object is prefetched by the first request; other requests go to the source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from relay.delivery.prefetch import MAX_SIZE, PrefetchedObject
from relay.errors import TemporaryFailure
from relay.handlers.local.handler import FolderSettings, Handler
from relay.model import Localized, ObjectRef
from relay.sources.contract import ObjectStream

CONTENT = bytes(range(256)) * 40


class RecordingHandler(Handler):
    """A folder that records its requests; streams break after `breaks_after` bytes."""

    def __init__(self, folder: Path) -> None:
        super().__init__("folder", FolderSettings(kind="local", folder=folder, token="t"))
        self.requests: list[tuple[int, int | None]] = []
        self.breaks_after: int | None = None

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        self.requests.append((start, end))
        stream = super().open(ref, start, end)
        return stream if self.breaks_after is None else BreakingStream(stream, self.breaks_after)


class BreakingStream:
    def __init__(self, stream: ObjectStream, left: int) -> None:
        self.info = stream.info
        self._stream = stream
        self._left = left

    def read(self, size: int, /) -> bytes:
        if not self._left:
            raise TemporaryFailure("object.cut", Localized("it broke off", "中断"))
        part = self._stream.read(min(size, self._left))
        self._left -= len(part)
        return part

    def close(self) -> None:
        self._stream.close()


@pytest.fixture
def source(tmp_path: Path) -> RecordingHandler:
    (tmp_path / "a.zip").write_bytes(CONTENT)
    return RecordingHandler(tmp_path)


@pytest.fixture
def announced() -> ObjectRef:
    return ObjectRef("folder", "a.zip", size=len(CONTENT))


def pinned(reader: PrefetchedObject, ref: ObjectRef) -> ObjectRef:
    info = reader.stat(ref)
    return replace(ref, version=ref.version or info.version, etag=ref.etag or info.etag)


def read_all(stream: ObjectStream) -> bytes:
    parts = iter(lambda: stream.read(1000), b"")
    try:
        return b"".join(parts)
    finally:
        stream.close()


def test_a_small_object_is_requested_once(source: RecordingHandler, announced: ObjectRef) -> None:
    reader = PrefetchedObject(source, announced)
    ref = pinned(reader, announced)
    assert reader.stat(announced).size == len(CONTENT)
    source.requests.clear()
    assert read_all(reader.open(ref)) == CONTENT
    assert read_all(reader.open(ref, 100, 300)) == CONTENT[100:300]
    assert read_all(reader.open(ref, 9000)) == CONTENT[9000:]
    assert reader.open(ref).info.etag == ref.etag
    assert source.requests == []


def test_a_large_object_is_read_by_ranges(source: RecordingHandler, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(bytes(MAX_SIZE + 1))
    announced = ObjectRef("folder", "a.zip", size=MAX_SIZE + 1)
    reader = PrefetchedObject(source, announced)
    ref = pinned(reader, announced)
    assert read_all(reader.open(ref, 5, 7)) == bytes(2)
    assert source.requests == [(0, 1), (5, 7)]


def test_an_object_without_an_announced_size_is_not_prefetched(source: RecordingHandler) -> None:
    announced = ObjectRef("folder", "a.zip")
    reader = PrefetchedObject(source, announced)
    reader.open(pinned(reader, announced), 0, 4).close()
    assert source.requests == [(0, 1), (0, 4)]


def test_an_object_of_another_size_is_not_prefetched(source: RecordingHandler) -> None:
    announced = ObjectRef("folder", "a.zip", size=17)
    reader = PrefetchedObject(source, announced)
    assert reader.stat(announced).size == len(CONTENT)
    reader.open(pinned(reader, announced), 0, 4).close()
    assert source.requests[-1] == (0, 4)


def test_after_a_broken_connection_the_object_is_read_by_ranges(
    source: RecordingHandler, announced: ObjectRef
) -> None:
    source.breaks_after = 5000
    reader = PrefetchedObject(source, announced)
    ref = pinned(reader, announced)
    source.breaks_after = None
    assert read_all(reader.open(ref, 5000, 6000)) == CONTENT[5000:6000]
    assert source.requests[-1] == (5000, 6000)


def test_a_request_for_another_object_or_version_goes_to_the_source(
    source: RecordingHandler, announced: ObjectRef
) -> None:
    reader = PrefetchedObject(source, announced)
    ref = pinned(reader, announced)
    source.requests.clear()
    reader.stat(replace(announced, etag=ref.etag))
    reader.open(replace(ref, size=None), 0, 2).close()
    assert source.requests == [(0, 1), (0, 2)]
