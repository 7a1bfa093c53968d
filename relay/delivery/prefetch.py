"""Near: a small object is fetched whole at the first look; asking again costs more than bytes."""

from __future__ import annotations

from dataclasses import replace

from relay.errors import TemporaryFailure
from relay.model import ObjectInfo, ObjectRef
from relay.sources.contract import ObjectStream, StorageHandler

SMALL = 2 * 1024 * 1024
"""Bytes up to which an object is held in memory: one for each delivery under way."""


class PrefetchedObject:
    """One source as the delivery of one object sees it: `stat` and `open` of a StorageHandler.

    The first stat of an object that was announced as small brings all of it. Whatever else is
    asked, and everything after a connection that broke, goes to the source itself.
    """

    def __init__(self, source: StorageHandler, ref: ObjectRef) -> None:
        self._source = source
        self._ref = ref
        self._kept: tuple[ObjectRef, ObjectInfo, bytes] | None = None

    def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See StorageHandler.stat."""
        if ref != self._ref or ref.size is None or not 0 < ref.size <= SMALL:
            return self._source.stat(ref)
        stream = self._source.open(ref)
        try:
            if stream.info.size == ref.size:
                self._keep(stream, ref.size)
        except TemporaryFailure:
            pass  # it is read by ranges then, which go on where they broke off
        finally:
            stream.close()
        return stream.info

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        """See StorageHandler.open."""
        if self._kept is None or ref != self._kept[0]:
            return self._source.open(ref, start, end)
        _, there, content = self._kept
        return _Part(there, content[start:end])

    def _keep(self, stream: ObjectStream, size: int) -> None:
        parts = []
        while size and (part := stream.read(size)):
            parts.append(part)
            size -= len(part)
        if not size:
            there, ref = stream.info, self._ref
            version, etag = ref.version or there.version, ref.etag or there.etag
            self._kept = replace(ref, version=version, etag=etag), there, b"".join(parts)


class _Part:
    """A part of what is kept, as a stream."""

    def __init__(self, info: ObjectInfo, content: bytes) -> None:
        self.info = info
        self._content = content
        self._at = 0

    def read(self, size: int, /) -> bytes:
        start, self._at = self._at, self._at + size
        return self._content[start : self._at]

    def close(self) -> None:
        self._content = b""
