"""Prefetches small objects: a single GET is cheaper than several range requests."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO

from relay.delivery.pinning import ObjectReader
from relay.errors import TemporaryFailure
from relay.model import ObjectInfo, ObjectRef
from relay.sources.contract import ObjectStream

MAX_SIZE = 2 * 1024 * 1024
"""Bytes up to which an object is kept in memory, per running delivery."""


class PrefetchedObject:
    """An ObjectReader for the delivery of a single object.

    The first `stat` of an object that was announced as small reads all of it. Other requests, and
    all requests after a broken connection, go to the source.
    """

    def __init__(self, source: ObjectReader, ref: ObjectRef) -> None:
        self._source = source
        self._ref = ref
        self._content: _Content | None = None

    def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See StorageHandler.stat."""
        if ref != self._ref or ref.size is None or not 0 < ref.size <= MAX_SIZE:
            return self._source.stat(ref)
        stream = self._source.open(ref)
        try:
            if stream.info.size == ref.size:
                self._content = _read_all(stream, ref)
        except TemporaryFailure:
            pass  # Reads by ranges resume after a broken connection.
        finally:
            stream.close()
        return stream.info

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        """See StorageHandler.open."""
        content = self._content
        if content is None or ref != content.pinned:
            return self._source.open(ref, start, end)
        return _MemoryStream(content.info, content.body[start:end])


@dataclass(frozen=True, slots=True)
class _Content:
    """A whole object, and the reference that is pinned to it."""

    pinned: ObjectRef
    info: ObjectInfo
    body: bytes


def _read_all(stream: ObjectStream, ref: ObjectRef) -> _Content | None:
    """Reads the announced size; None if the object ends early."""
    left, parts, info = ref.size or 0, [], stream.info
    while left and (part := stream.read(left)):
        parts.append(part)
        left -= len(part)
    if left:
        return None
    pinned = replace(ref, version=ref.version or info.version, etag=ref.etag or info.etag)
    return _Content(pinned, info, b"".join(parts))


class _MemoryStream(BytesIO):
    """A range of the prefetched object as an ObjectStream."""

    def __init__(self, info: ObjectInfo, content: bytes) -> None:
        super().__init__(content)
        self.info = info
