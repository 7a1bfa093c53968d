"""What was announced of an object, held against what the storage has there."""

from __future__ import annotations

from dataclasses import replace

from relay.delivery.prefetch import PrefetchedObject
from relay.errors import RelayError, Superseded
from relay.model import Localized, ObjectInfo, ObjectRef
from relay.sources.contract import StorageHandler

_LONGEST = 80
"""Characters of a foreign ETag that a sentence shows."""


def pin(source: StorageHandler | PrefetchedObject, ref: ObjectRef) -> ObjectRef:
    """The object as it is now, pinned: version, etag and size as far as the storage tells them.

    Raises Superseded, in words that name what differs, when it is not what was announced; and
    what `StorageHandler.stat` raises.
    """
    try:
        there = source.stat(ref)
    except Superseded as error:
        raise _other_etag(source, ref) or error from error
    if ref.size is not None and ref.size != there.size:
        raise Superseded(
            "object.other_size",
            Localized(
                f"The notification says {ref.size} bytes, the store holds {there.size}",
                f"通知称大小为 {ref.size} 字节，而存储中为 {there.size} 字节",
            ),
        )
    version = ref.version or there.version
    return replace(ref, version=version, etag=ref.etag or there.etag, size=there.size)


def is_current(source: StorageHandler, ref: ObjectRef) -> bool:
    """Whether the storage holds these very bytes under the key now; True when nothing tells.

    Raises what `StorageHandler.stat` raises: Gone, when nothing is there.
    """
    there = source.stat(ObjectRef(ref.bucket, ref.key))
    if ref.version and there.version:
        return ref.version == there.version
    return not (ref.etag and there.etag) or ref.etag == there.etag


def _other_etag(source: StorageHandler | PrefetchedObject, ref: ObjectRef) -> Superseded | None:
    """What differs, asked for once more without the etag; None when that does not tell."""
    if ref.etag is None:
        return None
    try:
        there = source.stat(replace(ref, etag=None))
    except RelayError:
        return None
    if there.etag in (None, ref.etag):
        return None
    announced, held = _told(ref), _told(there)
    return Superseded(
        "object.other_etag",
        Localized(
            f"The notification announced {announced.en}, the store holds {held.en}",
            f"通知称对象为 {announced.zh}，而存储中为 {held.zh}",
        ),
    )


def _told(what: ObjectRef | ObjectInfo) -> Localized:
    etag = what.etag or ""
    etag = etag if len(etag) <= _LONGEST else f"{etag[:_LONGEST]}…"
    if what.size is None:
        return Localized(f"the ETag {etag}", f"ETag {etag}")
    return Localized(f"the ETag {etag} ({what.size} bytes)", f"ETag {etag}（{what.size} 字节）")
