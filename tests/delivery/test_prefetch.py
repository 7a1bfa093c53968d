"""A small object is fetched whole at the first look, and everything else as before."""

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


class Counted(Handler):
    """The folder, and how it was read. `breaks`: after so many bytes each stream breaks off."""

    def __init__(self, folder: Path) -> None:
        super().__init__("folder", FolderSettings(kind="local", folder=folder, token="t"))
        self.asked: list[tuple[int, int | None]] = []
        self.breaks: int | None = None

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        self.asked.append((start, end))
        stream = super().open(ref, start, end)
        return stream if self.breaks is None else Breaking(stream, self.breaks)


class Breaking:
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
def source(tmp_path: Path) -> Counted:
    (tmp_path / "a.zip").write_bytes(CONTENT)
    return Counted(tmp_path)


@pytest.fixture
def announced() -> ObjectRef:
    return ObjectRef("folder", "a.zip", size=len(CONTENT))


def pinned(near: PrefetchedObject, ref: ObjectRef) -> ObjectRef:
    there = near.stat(ref)
    return replace(ref, version=ref.version or there.version, etag=ref.etag or there.etag)


def all_of(stream: ObjectStream) -> bytes:
    parts = iter(lambda: stream.read(1000), b"")
    try:
        return b"".join(parts)
    finally:
        stream.close()


def test_a_small_object_is_asked_for_once(source: Counted, announced: ObjectRef) -> None:
    near = PrefetchedObject(source, announced)
    ref = pinned(near, announced)
    assert near.stat(announced).size == len(CONTENT)
    source.asked.clear()
    assert all_of(near.open(ref)) == CONTENT
    assert all_of(near.open(ref, 100, 300)) == CONTENT[100:300]
    assert all_of(near.open(ref, 9000)) == CONTENT[9000:]
    assert near.open(ref).info.etag == ref.etag
    assert source.asked == []


def test_what_is_not_small_is_read_by_ranges(source: Counted, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(bytes(MAX_SIZE + 1))
    announced = ObjectRef("folder", "a.zip", size=MAX_SIZE + 1)
    near = PrefetchedObject(source, announced)
    ref = pinned(near, announced)
    assert all_of(near.open(ref, 5, 7)) == bytes(2)
    assert source.asked == [(0, 1), (5, 7)]


def test_an_announcement_without_a_size_keeps_nothing(source: Counted) -> None:
    announced = ObjectRef("folder", "a.zip")
    near = PrefetchedObject(source, announced)
    near.open(pinned(near, announced), 0, 4).close()
    assert source.asked == [(0, 1), (0, 4)]


def test_an_object_of_another_size_is_told_and_not_read(source: Counted) -> None:
    announced = ObjectRef("folder", "a.zip", size=17)
    near = PrefetchedObject(source, announced)
    assert near.stat(announced).size == len(CONTENT)
    near.open(pinned(near, announced), 0, 4).close()
    assert source.asked[-1] == (0, 4)


def test_a_connection_that_breaks_leaves_it_to_ranges(
    source: Counted, announced: ObjectRef
) -> None:
    source.breaks = 5000
    near = PrefetchedObject(source, announced)
    ref = pinned(near, announced)
    source.breaks = None
    assert all_of(near.open(ref, 5000, 6000)) == CONTENT[5000:6000]
    assert source.asked[-1] == (5000, 6000)


def test_another_object_or_pin_goes_to_the_source(source: Counted, announced: ObjectRef) -> None:
    near = PrefetchedObject(source, announced)
    ref = pinned(near, announced)
    source.asked.clear()
    near.stat(replace(announced, etag=ref.etag))
    near.open(replace(ref, size=None), 0, 2).close()
    assert source.asked == [(0, 1), (0, 2)]
