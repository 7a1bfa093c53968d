"""A range of an object: how it is asked for, what an answer says, and its bytes held to that."""

from __future__ import annotations

import re
from typing import ClassVar, Protocol

from relay.model import ObjectInfo
from relay.sources.errors import cut_short, no_length, no_ranges

_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")


class Body(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def range_header(start: int, end: int | None) -> str | None:
    """The Range header (RFC 9110 §14.1.2) for the bytes [start, end); None: all of them."""
    if start == 0 and end is None:
        return None
    return f"bytes={start}-{'' if end is None else end - 1}"


def parse_range(
    length: object, content_range: str | None, start: int, end: int | None, thing: str
) -> tuple[int, int]:
    """The size of the object, and how many bytes of the answer are those that were asked for.

    `length`: the answer's Content-Length. A store without ranges sends the whole: as much as was
    asked for is read of it, if it was from the beginning. TemporaryFailure when the answer is too
    short or does not say its length; PermanentFailure when it holds other bytes.
    """
    if not isinstance(length, int) or length < 0:
        raise no_length(thing)
    size = length
    if content_range:
        given = _RANGE.fullmatch(content_range)
        if not given:
            raise no_ranges(thing)
        first, last, size = (int(number) for number in given.groups())
        if first != start or last - first + 1 != length or (end and last >= end):
            raise no_ranges(thing)
    elif start:
        raise no_ranges(thing)
    wanted = min(size, size if end is None else end) - start
    if wanted > length:
        raise cut_short(thing)
    return size, wanted


class RangeStream:
    """Bytes of one answer, held against the length that it announced: an `ObjectStream`.

    A subclass says in `failures` what its body raises when the connection breaks.
    """

    failures: ClassVar[tuple[type[Exception], ...]] = (OSError,)

    def __init__(self, body: Body, info: ObjectInfo, length: int, thing: str) -> None:
        self.info = info
        self._body = body
        self._left = length
        self._thing = thing

    def read(self, size: int, /) -> bytes:
        if size <= 0 or not self._left:
            return b""
        try:
            part = self._body.read(min(size, self._left))
        except self.failures as error:
            raise cut_short(self._thing) from error
        if not part:
            raise cut_short(self._thing)
        self._left -= len(part)
        return part

    def close(self) -> None:
        self._body.close()
