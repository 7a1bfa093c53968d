"""Reads a range of an object to its end; goes on where it stopped when the connection breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from relay.errors import Superseded, TemporaryFailure
from relay.model import Localized, ObjectInfo


class ByteStream(Protocol):
    """What is needed of a handler's ObjectStream (a floor above)."""

    info: ObjectInfo

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


Open = Callable[[int, int | None], ByteStream]
"""open(start, end) -> the pinned object's bytes [start, end); None: to its end."""

TRIES = 4
"""Opens without a whole new chunk in between, before giving up."""


class ResumingReader:
    """The bytes [start, end) of an object of `size` bytes, in chunks of one length.

    Raises TemporaryFailure when it cannot go on, Superseded when the object is of another size
    now, and whatever else `open` raises.
    """

    def __init__(self, open_: Open, size: int, start: int, end: int) -> None:
        self._open = open_
        self._size = size
        self._at = start
        self._end = end
        self._stream: ByteStream | None = None
        self._tries_left = TRIES

    def chunks(self, length: int) -> Iterator[bytes]:
        """Chunks of `length` bytes; the last may be shorter."""
        try:
            while self._at < self._end:
                chunk = self._chunk(min(length, self._end - self._at))
                self._tries_left = TRIES
                yield chunk
        finally:
            self._close()

    def _chunk(self, length: int) -> bytes:
        parts: list[bytes] = []
        missing = length
        while missing:
            part = self._read(missing)
            parts.append(part)
            self._at += len(part)
            missing -= len(part)
        if self._at == self._size:
            self._check_end()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read(self, most: int) -> bytes:
        """At least one byte; opens again after a cut."""
        while True:
            try:
                if self._stream is None:
                    self._stream = self._opened()
                part = self._stream.read(most)
                if part:
                    return part
                raise _cut(self._at, self._size)
            except TemporaryFailure as failure:
                self._close()
                failure.at_source = True
                if not self._tries_left or failure.retry_after:
                    raise

    def _check_end(self) -> None:
        """A store that gives more than it announced is not to be trusted with the rest."""
        try:
            more = self._stream is not None and self._stream.read(1)
        except TemporaryFailure:
            return
        if more:
            raise TemporaryFailure(
                "object.longer",
                Localized(
                    f"The store gave more than the {self._size} bytes that it announced",
                    f"存储返回的数据超过其声明的 {self._size} 字节",
                ),
                Localized("Relay tries again.", "Relay 会重试。"),
            )

    def _opened(self) -> ByteStream:
        self._tries_left -= 1
        whole = self._end == self._size
        stream = self._open(self._at, None if whole else self._end)
        if stream.info.size != self._size:
            stream.close()
            raise _other_size(self._size, stream.info.size)
        return stream

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _cut(at: int, size: int) -> TemporaryFailure:
    return TemporaryFailure(
        "object.cut",
        Localized(
            f"The store ended the object after {at} of {size} bytes",
            f"存储在 {at}/{size} 字节处提前结束了传输",
        ),
        Localized("Relay tries again.", "Relay 会重试。"),
    )


def _other_size(said: int, now: int) -> Superseded:
    return Superseded(
        "object.other_size",
        Localized(
            f"The object has {now} bytes now; it had {said} when it was looked at",
            f"对象现为 {now} 字节，检查时为 {said} 字节",
        ),
        Localized(
            "It was replaced in between; the newer upload has its own delivery.",
            "对象已被替换，新的上传会有自己的投递。",
        ),
    )
