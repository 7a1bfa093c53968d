"""Request bodies that carry a file as base64 inside of JSON: streamed, of known length."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import pybase64

Progress = Callable[[int], None]
Chunks = Callable[[], Iterator[bytes]]


class Packed(Protocol):
    """The part of `relay.targets.contract.Archive` that these bodies need."""

    @property
    def size(self) -> int: ...

    def chunks(self) -> Iterator[bytes]: ...

    def code(self) -> Iterator[bytes]: ...


class Base64Body:
    """JSON whose last text, empty in `frame`, is `size` bytes from `chunks()` as base64.

    `len(body)` is the exact Content-Length. Each iteration is a new pass over `chunks()`, whose
    errors come through: the body ends early then and is never complete. `progress` is told how
    many of the `size` bytes have gone out since it was last told; what a second pass (a token was
    renewed) sends again is not counted again.
    """

    def __init__(self, frame: str, chunks: Chunks, size: int, progress: Progress) -> None:
        inside = frame.rindex('""') + 1
        self._head = frame[:inside].encode()
        self._tail = frame[inside:].encode()
        self._chunks = chunks
        self._size = size
        self._progress = progress
        self._told = 0

    def __len__(self) -> int:
        return len(self._head) + (self._size + 2) // 3 * 4 + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        rest = b""
        sent = 0
        for chunk in self._chunks():
            # Most chunks are a multiple of 3 long; the others must not be padded in the middle.
            whole = rest + chunk if rest else chunk
            cut = len(whole) - len(whole) % 3
            rest = whole[cut:]
            yield pybase64.b64encode(whole[:cut] if rest else whole)
            sent += len(chunk)
            if sent > self._told:
                self._progress(sent - self._told)
                self._told = sent
        yield pybase64.b64encode(rest) + self._tail


class ImportBody(Base64Body):
    """ImportFunction's body: the fields, and the archive as `file_code`."""

    def __init__(self, fields: Mapping[str, str], archive: Packed, progress: Progress) -> None:
        frame = json.dumps({**fields, "file_code": ""})
        super().__init__(frame, archive.chunks, archive.size, progress)


class CodeBody(Base64Body):
    """UpdateFunctionCode's body: the fields, and the inner code file as `func_code.file`.

    `size`: bytes of the code file, unpacked (`archive.report.export.code.size`).
    """

    def __init__(
        self, fields: Mapping[str, str], archive: Packed, size: int, progress: Progress
    ) -> None:
        frame = json.dumps({**fields, "func_code": {"file": ""}})
        super().__init__(frame, archive.code, size, progress)
