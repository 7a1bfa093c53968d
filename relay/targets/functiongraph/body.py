"""Request bodies that carry a file as base64 inside JSON: streamed, with a known length."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping

import pybase64

from relay.targets.contract import Archive, Progress


class Base64Body:
    """A JSON text whose last empty string is replaced by the base64 of a stream.

    `frame` is the JSON text and `chunks()` yields the `size` bytes of the stream. `len(body)` is
    the exact Content-Length. Each iteration calls `chunks()` again and lets errors through; an
    interrupted body is never complete. `progress` does not count bytes that a second pass repeats,
    for example after a token was renewed.
    """

    def __init__(
        self, frame: str, chunks: Callable[[], Iterator[bytes]], size: int, progress: Progress
    ) -> None:
        inside = frame.rindex('""') + 1
        self._head = frame[:inside].encode()
        self._tail = frame[inside:].encode()
        self._chunks = chunks
        self._size = size
        self._progress = progress
        self._reported = 0

    def __len__(self) -> int:
        return len(self._head) + (self._size + 2) // 3 * 4 + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        remainder = b""
        sent = 0
        for chunk in self._chunks():
            # Only the last piece may be padded, so encode multiples of 3 bytes. Most chunks are.
            pending = remainder + chunk if remainder else chunk
            cut = len(pending) - len(pending) % 3
            remainder = pending[cut:]
            yield pybase64.b64encode(pending[:cut] if remainder else pending)
            sent += len(chunk)
            if sent > self._reported:
                self._progress(sent - self._reported)
                self._reported = sent
        yield pybase64.b64encode(remainder) + self._tail


class ImportBody(Base64Body):
    """The body of ImportFunction: the fields, and the archive as `file_code`."""

    def __init__(self, fields: Mapping[str, str], archive: Archive, progress: Progress) -> None:
        frame = json.dumps({**fields, "file_code": ""})
        super().__init__(frame, archive.chunks, archive.size, progress)


class CodeBody(Base64Body):
    """The body of UpdateFunctionCode: the fields, and the code file as `func_code.file`.

    `size`: bytes of the uncompressed code file (`archive.report.export.code.size`).
    """

    def __init__(
        self, fields: Mapping[str, str], archive: Archive, size: int, progress: Progress
    ) -> None:
        frame = json.dumps({**fields, "func_code": {"file": ""}})
        super().__init__(frame, archive.code, size, progress)


class JsonBody:
    """A small JSON body with sorted fields; `digest()` is the SHA-256 (hex) of it."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._text = json.dumps(fields, sort_keys=True).encode()

    def __len__(self) -> int:
        return len(self._text)

    def __iter__(self) -> Iterator[bytes]:
        yield self._text

    def digest(self) -> str:
        return hashlib.sha256(self._text).hexdigest()
