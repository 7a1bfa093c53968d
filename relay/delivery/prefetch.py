"""Prefetches small objects: a single GET is cheaper than several range requests."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

from relay.delivery.import_steps import read_exactly
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
        self._content: tuple[ObjectRef, ObjectInfo, bytes] | None = None
        """The whole object, after the reference that is pinned to it."""

    def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See StorageHandler.stat."""
        if ref != self._ref or ref.size is None or not 0 < ref.size <= MAX_SIZE:
            return self._source.stat(ref)
        stream = self._source.open(ref)
        try:
            if stream.info.size == ref.size:
                info, body = stream.info, read_exactly(stream, ref.size)
                version, etag = ref.version or info.version, ref.etag or info.etag
                self._content = (replace(ref, version=version, etag=etag), info, body)
        except TemporaryFailure:
            pass  # Reads by ranges resume after a broken connection.
        finally:
            stream.close()
        return stream.info

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        """See StorageHandler.open."""
        if self._content is None or ref != self._content[0]:
            return self._source.open(ref, start, end)
        _, info, body = self._content
        return _MemoryStream(info, body[start:end])


class _MemoryStream(BytesIO):
    """A range of the prefetched object as an ObjectStream."""

    def __init__(self, info: ObjectInfo, content: bytes) -> None:
        super().__init__(content)
        self.info = info
