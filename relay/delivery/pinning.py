"""Compares the object that was announced with the object that the storage holds now."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from relay.errors import Gone, RelayError, Superseded
from relay.model import Localized, ObjectInfo, ObjectRef
from relay.sources.contract import ObjectStream

_MAX_ETAG_LENGTH = 80
"""Characters of a foreign ETag that a message shows."""


class ObjectReader(Protocol):
    """The part of StorageHandler that a delivery needs."""

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> ObjectStream:
        """See StorageHandler.open."""

    def stat(self, ref: ObjectRef) -> ObjectInfo:
        """See StorageHandler.stat."""


def pin(source: ObjectReader, ref: ObjectRef) -> ObjectRef:
    """Return `ref` with the version, ETag and size that the storage reports.

    Raises Superseded if the object differs from what was announced, and what
    `StorageHandler.stat` raises.
    """
    try:
        info = source.stat(ref)
    except Superseded as error:
        raise _other_etag(source, ref) or error from error
    if ref.size is not None and ref.size != info.size:
        raise Superseded(
            "object.other_size",
            Localized(
                f"The notification says {ref.size} bytes, the storage holds {info.size}",
                f"通知称大小为 {ref.size} 字节，而存储中为 {info.size} 字节",
            ),
        )
    version = ref.version or info.version
    return replace(ref, version=version, etag=ref.etag or info.etag, size=info.size)


def is_current(source: ObjectReader, ref: ObjectRef) -> bool:
    """Whether the key still holds the version or ETag of `ref`; True if neither is known.

    Raises what `StorageHandler.stat` raises, for example Gone.
    """
    info = source.stat(ObjectRef(ref.bucket, ref.key))
    if ref.version and info.version:
        return ref.version == info.version
    return not (ref.etag and info.etag) or ref.etag == info.etag


def _other_etag(source: ObjectReader, ref: ObjectRef) -> Superseded | Gone | None:
    """Name both ETags, after a second request without the ETag; None if that shows nothing.

    Some storages answer a request with If-Match for a missing object as for another ETag.
    """
    if ref.etag is None:
        return None
    try:
        info = source.stat(replace(ref, etag=None))
    except Gone as gone:
        return gone
    except RelayError:
        return None
    if info.etag in (None, ref.etag):
        return None
    announced, stored = _etag_and_size(ref), _etag_and_size(info)
    return Superseded(
        "object.other_etag",
        Localized(
            f"The notification announced {announced.en}, the storage holds {stored.en}",
            f"通知称对象为 {announced.zh}，而存储中为 {stored.zh}",
        ),
    )


def _etag_and_size(item: ObjectRef | ObjectInfo) -> Localized:
    etag = item.etag or ""
    if len(etag) > _MAX_ETAG_LENGTH:
        etag = f"{etag[:_MAX_ETAG_LENGTH]}…"
    if item.size is None:
        return Localized(f"the ETag {etag}", f"ETag {etag}")
    return Localized(f"the ETag {etag} ({item.size} bytes)", f"ETag {etag}（{item.size} 字节）")
