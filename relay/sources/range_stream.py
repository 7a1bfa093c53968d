"""Range reads of an object: the Range header, the checked response, and the stream of bytes."""

from __future__ import annotations

import re
from typing import ClassVar, Protocol

from relay.model import ObjectInfo
from relay.sources.errors import cut_short, no_length, no_ranges

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


class Body(Protocol):
    """The body of a response, as an HTTP client or an SDK returns it."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def range_header(start: int, end: int | None) -> str | None:
    """The Range header (RFC 9110 §14.1.2) for the bytes [start, end); None for the whole object."""
    if start == 0 and end is None:
        return None
    return f"bytes={start}-{'' if end is None else end - 1}"


def parse_range(
    length: object, content_range: str | None, start: int, end: int | None, name: str
) -> tuple[int, int]:
    """Return the size of the object, and how many bytes of the response to read.

    `length`: the Content-Length of the response. A storage without range support sends the whole
    object; that is accepted if the range starts at 0. TemporaryFailure when the length is missing
    or too short, PermanentFailure when the response contains another range.
    """
    if not isinstance(length, int) or length < 0:
        raise no_length(name)
    size = length
    if content_range:
        match = _CONTENT_RANGE.fullmatch(content_range)
        if not match:
            raise no_ranges(name)
        first, last, size = (int(number) for number in match.groups())
        if first != start or last - first + 1 != length or (end and last >= end):
            raise no_ranges(name)
    elif start:
        raise no_ranges(name)
    expected = min(size, size if end is None else end) - start
    if expected > length:
        raise cut_short(name)
    return size, expected


class RangeStream:
    """The bytes of a response, checked against the announced length: an `ObjectStream`.

    `failures` lists the exceptions that the body raises when the connection breaks.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (OSError,)

    def __init__(self, body: Body, info: ObjectInfo, length: int, name: str) -> None:
        self.info = info
        self._body = body
        self._remaining = length
        self._name = name

    def read(self, size: int, /) -> bytes:
        if size <= 0 or not self._remaining:
            return b""
        try:
            part = self._body.read(min(size, self._remaining))
        except self.failures as error:
            raise cut_short(self._name) from error
        if not part:
            raise cut_short(self._name)
        self._remaining -= len(part)
        return part

    def close(self) -> None:
        self._body.close()
