"""The S3 dialect: what AWS and its many look-alikes write into a record about a new object.

Wire formats: Amazon S3 User Guide, "Event message structure" and "EventBridge event message
structure"; MinIO internal/event; Ceph doc/radosgw/notifications.rst. What the dialects of other
stores that are read by the S3 protocol have in common with it is here too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote_plus

from relay.errors import Unreadable
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import (
    check_text,
    count_or_none,
    find,
    text,
    text_or_none,
    time_or_none,
    wrong_field,
)

KeyEncoding = Literal["auto", "url", "raw"]

CREATED = frozenset(
    f"ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")
)
"""The events after which the object is complete. Never a prefix: look-alikes announce tags,
retention and the *start* of multipart uploads under ObjectCreated too."""

REASONS = frozenset(
    ("PutObject", "POST Object", "CopyObject", "Put", "Post", "Copy", "CompleteMultipartUpload")
) | {"ObjectCreated"}
"""The same in EventBridge's words; the short ones and the last are those of emulators."""

CEPH = "ceph:s3"
RAW_KEYS = frozenset((CEPH,))
"""Event sources that do not encode the key."""

REQUEST_IDS = ("x-amz-request-id", "x-obs-request-id")

_HEX = re.compile(r"[0-9A-Fa-f]{1,32}")


def events(
    record: Mapping[str, Any], key_encoding: KeyEncoding = "auto", sender: str = ""
) -> Iterator[Event]:
    """The event in an S3 record or an EventBridge event; none when no object became complete.

    `key_encoding`: "url" decodes the key as a form does, "raw" takes it as it stands, "auto" goes
    by the record's source, or by `sender`, where it is known better. Raises Unreadable.
    """
    if is_test(record):
        return
    if "detail-type" in record:
        yield from _bridged(record)
        return
    name = text(record, "eventName").removeprefix("s3:")
    if name not in CREATED:
        return
    check_version(record, "2")
    source = sender or text_or_none(record, "eventSource") or ""
    if key_encoding == "auto" and source in RAW_KEYS:
        key_encoding = "raw"
    ref = object_in(record, "s3", key_encoding)
    if source == CEPH and name == "ObjectCreated:Post" and not ref.size:
        return  # Ceph says Post for the start of a multipart upload too; only that has no size
    sequencer = text_or_none(record, "s3", "object", "sequencer")
    order = _ceph_order(sequencer) if source == CEPH else hex_order(sequencer)
    upload = text_or_none(record, "eventId") if source == CEPH else None
    upload = f"event:{upload}" if upload else _numbered(sequencer, order, ref)
    time = time_or_none(record, "eventTime")
    identity = identity_of(ref, time, upload=upload, request=request_of(record))
    yield Event(ref, identity, name, time, order)


def is_test(record: Mapping[str, Any]) -> bool:
    """Whether it only says that notifications were switched on."""
    return str(record.get("Event", "")).endswith("TestEvent") and "eventName" not in record


def check_version(record: Mapping[str, Any], *known: str) -> None:
    """Unreadable when the record's format has another major version than these."""
    version = text_or_none(record, "eventVersion")
    if version is not None and version.partition(".")[0] not in known:
        raise wrong_field(("eventVersion",), "is of a version that we do not know", "为未知版本")


def object_in(record: Mapping[str, Any], block: str, encoding: KeyEncoding) -> ObjectRef:
    """The object that the record's `block` describes; its key is raw only if `encoding` is."""
    return ObjectRef(
        bucket=text(record, block, "bucket", "name"),
        key=decoded(text(record, block, "object", "key"), encoding, block, "object", "key"),
        version=_version(text_or_none(record, block, "object", "versionId")),
        etag=unquoted(text_or_none(record, block, "object", "eTag")),
        size=count_or_none(record, block, "object", "size"),
    )


def decoded(key: str, encoding: KeyEncoding, *path: str) -> str:
    """The key as a GET needs it: as it stands if `encoding` is "raw", else decoded as a form is.

    `path`: where it stood in the record, for the error.
    """
    if encoding == "raw":
        return key
    try:
        return check_text(unquote_plus(key, errors="strict"), *path)
    except UnicodeDecodeError:
        raise wrong_field(path, "is not encoded UTF-8", "不是编码后的 UTF-8") from None


def as_it_stands(key: str, encoding: KeyEncoding, *path: str) -> str:
    """The key of a store that does not encode it, unless `encoding` says "url" all the same."""
    return decoded(key, encoding, *path) if encoding == "url" else key


def said_in(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a store itself says: the record, or the data of a CloudEvent around it."""
    said = find(record, "data") if "specversion" in record else record
    if not isinstance(said, Mapping):
        raise wrong_field(("data",), "should be an object", "应为对象")
    return said


def identity_of(
    ref: ObjectRef,
    time: datetime | None,
    *,
    upload: str | None = None,
    request: str | None = None,
    etag: str | None = None,
) -> str:
    """What the store calls this upload on every road that the news of it may come by.

    `upload`: the store's own name for it; `request`: the request that made it; `etag`: the
    record's, where it is of no use in If-Match. Unreadable when nothing tells one upload of the
    object from another.
    """
    etag = etag or ref.etag
    if ref.version:
        return f"version:{ref.version}"
    if upload:
        return upload
    if request and not (etag and time):
        return f"request:{request}"
    if etag or time:
        return f"etag:{etag}@{time.isoformat() if time else ''}"
    raise Unreadable(
        "record.nameless_version",
        Localized(
            "The record has no version, sequencer, etag or time: one upload of the object "
            "cannot be told from another",
            "记录中没有 version、sequencer、etag 或时间：无法区分该对象的不同上传",
        ),
    )


def request_of(record: Mapping[str, Any]) -> str | None:
    """The id of the request that made the object."""
    found = (text_or_none(record, "responseElements", name) for name in REQUEST_IDS)
    return next(filter(None, found), None)


def unquoted(etag: str | None) -> str | None:
    """An ETag without its quotes, as it comes or not."""
    return (etag.strip('"') or None) if etag else None


def hex_order(sequencer: str | None) -> str:
    """Hexadecimal numbers of differing length: compared as numbers, so padded on the left."""
    if sequencer and _HEX.fullmatch(sequencer):
        return f"hex:{int(sequencer, 16):032x}"
    return ""


def _bridged(record: Mapping[str, Any]) -> Iterator[Event]:
    kind = text(record, "detail-type")
    reason = text_or_none(record, "detail", "reason")
    if kind != "Object Created" or (reason and reason not in REASONS):
        return
    etag = text_or_none(record, "detail", "object", "etag")
    ref = ObjectRef(
        bucket=text(record, "detail", "bucket", "name"),
        key=text(record, "detail", "object", "key"),
        version=_version(text_or_none(record, "detail", "object", "version-id")),
        etag=unquoted(etag or text_or_none(record, "detail", "object", "eTag")),
        size=count_or_none(record, "detail", "object", "size"),
    )
    sequencer = text_or_none(record, "detail", "object", "sequencer")
    order = hex_order(sequencer)
    time = time_or_none(record, "time")
    request = text_or_none(record, "detail", "request-id")
    upload = _numbered(sequencer, order, ref)
    identity = identity_of(ref, time, upload=upload, request=request)
    yield Event(ref, identity, f"{kind}:{reason}" if reason else kind, time, order)


def _numbered(sequencer: str | None, order: str, ref: ObjectRef) -> str | None:
    return f"sequencer:{order or sequencer}+{ref.etag or ''}" if sequencer else None


def _version(version: str | None) -> str | None:
    """None for "null", the version of a bucket without versions: it pins nothing."""
    return None if version == "null" else version


def _ceph_order(sequencer: str | None) -> str:
    """Ceph prints the memory of two little-endian numbers: seconds, nanoseconds."""
    if not sequencer or len(sequencer) != 16 or not _HEX.fullmatch(sequencer):
        return ""
    seconds, nanoseconds = struct.unpack("<II", bytes.fromhex(sequencer))
    return f"ceph:{seconds:010d}.{nanoseconds:09d}"
