"""Reads the bytes of a stored archive: random ranges with a cache, or a stream that resumes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from relay.errors import Superseded, TemporaryFailure
from relay.model import Localized, ObjectInfo

ReadRange = Callable[[int, int], bytes]
"""read(start, end) returns exactly the bytes [start, end)."""

MAX_OPENS = 4
"""Opens without a complete chunk in between before a stream fails."""

_RETRIED = Localized("Relay retries.", "Relay 会重试。")


class RangeReader:
    """Reads ranges of an archive of `size` bytes and caches them.

    Each read fetches at least `ahead` bytes, so that neighbouring ranges are read together.
    `reads` and `fetched` count the range reads and their bytes.
    """

    def __init__(self, size: int, read: ReadRange, ahead: int = 16 * 1024) -> None:
        self.size = size
        self.reads = 0
        self.fetched = 0
        self._read = read
        self._ahead = ahead
        self._pieces: list[tuple[int, bytes]] = []

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes [start, end), or fewer at the end of the archive."""
        end = min(end, self.size)
        if start >= end:
            return b""
        for begin, piece in self._pieces:
            if begin <= start and end <= begin + len(piece):
                return piece[start - begin : end - begin]
        return self._fetch(start, end)

    def _fetch(self, start: int, end: int) -> bytes:
        stop = min(self.size, max(end, start + self._ahead))
        piece = self._read(start, stop)
        self.reads += 1
        self.fetched += len(piece)
        if len(piece) != stop - start:
            raise TemporaryFailure(
                "object.cut",
                Localized(
                    f"The storage returned {len(piece)} of the {stop - start} requested bytes",
                    f"请求 {stop - start} 字节，存储只返回了 {len(piece)} 字节",
                ),
            )
        self._pieces.append((start, piece))
        return piece[: end - start]


class ByteStream(Protocol):
    """The part of an ObjectStream that is needed here; that class is in a higher layer."""

    info: ObjectInfo

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


OpenStream = Callable[[int, int | None], ByteStream]
"""open(start, end) streams the bytes [start, end) of the pinned object; None: to the end."""


class ResumingReader:
    """Streams the bytes [start, end) of an object of `size` bytes and resumes after disconnects.

    Raises TemporaryFailure if resuming fails, Superseded if the object has another size now, and
    the errors of `open_`.
    """

    def __init__(self, open_: OpenStream, size: int, start: int, end: int) -> None:
        self._open = open_
        self._size = size
        self._at = start
        self._end = end
        self._stream: ByteStream | None = None
        self._opens_left = MAX_OPENS

    def chunks(self, length: int) -> Iterator[bytes]:
        """Yield chunks of `length` bytes; the last may be shorter."""
        try:
            while self._at < self._end:
                chunk = self._chunk(min(length, self._end - self._at))
                self._opens_left = MAX_OPENS
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
        """Read at least 1 byte; reopens the stream after a disconnect."""
        while True:
            try:
                if self._stream is None:
                    self._stream = self._reopen()
                part = self._stream.read(most)
                if part:
                    return part
                raise _interrupted(self._at, self._size)
            except TemporaryFailure as failure:
                self._close()
                failure.at_source = True
                if not self._opens_left or failure.retry_after:
                    raise

    def _check_end(self) -> None:
        # If the storage sends more bytes than announced, the received bytes may be wrong too.
        try:
            more = self._stream is not None and self._stream.read(1)
        except TemporaryFailure:
            return
        if more:
            raise TemporaryFailure(
                "object.longer",
                Localized(
                    f"The storage sent more than the announced {self._size} bytes",
                    f"存储返回的数据超过其声明的 {self._size} 字节",
                ),
                _RETRIED,
            )

    def _reopen(self) -> ByteStream:
        self._opens_left -= 1
        stream = self._open(self._at, None if self._end == self._size else self._end)
        if stream.info.size != self._size:
            stream.close()
            raise Superseded(
                "object.other_size",
                Localized(
                    f"The object has {stream.info.size} bytes now; it had {self._size} bytes when"
                    " it was inspected",
                    f"对象现为 {stream.info.size} 字节，检查时为 {self._size} 字节",
                ),
                Localized(
                    "The object was replaced. The newer upload has a delivery of its own.",
                    "对象已被替换，新的上传有单独的投递任务。",
                ),
            )
        return stream

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _interrupted(at: int, size: int) -> TemporaryFailure:
    return TemporaryFailure(
        "object.cut",
        Localized(
            f"The storage ended the object after {at} of {size} bytes",
            f"存储在 {at}/{size} 字节处提前结束了传输",
        ),
        _RETRIED,
    )
