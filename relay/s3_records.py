"""The S3 dialect: what AWS and its many look-alikes write into a record about a new object.

Wire formats: Amazon S3 User Guide, "Event message structure" and "EventBridge event message
structure"; MinIO internal/event; Ceph doc/radosgw/notifications.rst.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote_plus

from relay.errors import Unreadable
from relay.model import Event, ObjectRef, Text
from relay.records import checked, count_or_none, text, text_or_none, time_or_none, wrong

KeyEncoding = Literal["auto", "url", "raw"]

CREATED = frozenset(
    f"ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")
)
"""The events after which the object is complete. Never a prefix: look-alikes announce tags,
retention and the *start* of multipart uploads under ObjectCreated too."""

REASONS = frozenset(
    ("PutObject", "POST Object", "CopyObject", "Put", "Post", "Copy", "CompleteMultipartUpload")
)
"""The same in EventBridge's words; the short ones are those of emulators."""

RAW_KEYS = frozenset(("ceph:s3",))
"""Event sources that do not encode the key."""

_HEX = re.compile(r"[0-9A-Fa-f]{1,32}")


def events(record: Mapping[str, Any], key_encoding: KeyEncoding = "auto") -> Iterator[Event]:
    """The event in an S3 record or an EventBridge event; none when no object became complete.

    `key_encoding`: "url" decodes the key as a form does, "raw" takes it as it stands, "auto" goes
    by the record's source. Raises Unreadable.
    """
    if record.get("Event") == "s3:TestEvent":
        return
    if "detail-type" in record:
        yield from _bridged(record)
        return
    name = text(record, "eventName").removeprefix("s3:")
    if name not in CREATED:
        return
    _check_version(record)
    source = text_or_none(record, "eventSource") or ""
    size = count_or_none(record, "s3", "object", "size")
    if source == "ceph:s3" and name == "ObjectCreated:Post" and not size:
        return  # Ceph says Post for the start of a multipart upload too; only that has no size
    ref = ObjectRef(
        bucket=text(record, "s3", "bucket", "name"),
        key=_key(text(record, "s3", "object", "key"), key_encoding, source),
        version=_version(text_or_none(record, "s3", "object", "versionId")),
        etag=_etag(text_or_none(record, "s3", "object", "eTag")),
        size=size,
    )
    sequencer = text_or_none(record, "s3", "object", "sequencer")
    order = _ceph_order(sequencer) if source == "ceph:s3" else _order(sequencer)
    yield _event(ref, name, time_or_none(record, "eventTime"), sequencer, order)


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
        etag=_etag(etag or text_or_none(record, "detail", "object", "eTag")),
        size=count_or_none(record, "detail", "object", "size"),
    )
    sequencer = text_or_none(record, "detail", "object", "sequencer")
    type_ = f"{kind}:{reason}" if reason else kind
    yield _event(ref, type_, time_or_none(record, "time"), sequencer, _order(sequencer))


def _event(
    ref: ObjectRef, type_: str, time: datetime | None, sequencer: str | None, order: str
) -> Event:
    if ref.version:
        identity = f"version:{ref.version}"
    elif sequencer:
        identity = f"sequencer:{order or sequencer}+{ref.etag or ''}"
    elif time or ref.etag:
        identity = f"etag:{ref.etag}@{time.isoformat() if time else ''}"
    else:
        raise Unreadable(
            "record.nameless_version",
            Text(
                "The record has no version, sequencer, etag or time: one upload of the object "
                "cannot be told from another",
                "记录中没有 version、sequencer、etag 或时间: 无法区分该对象的不同上传",
            ),
        )
    return Event(ref, identity, type_, time, order)


def _check_version(record: Mapping[str, Any]) -> None:
    version = text_or_none(record, "eventVersion")
    if version is not None and version.partition(".")[0] != "2":
        raise wrong(("eventVersion",), "is of a version that we do not know", "为未知版本")


def _key(key: str, encoding: KeyEncoding, source: str) -> str:
    if encoding == "raw" or (encoding == "auto" and source in RAW_KEYS):
        return key
    try:
        decoded = unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        raise wrong(("s3", "object", "key"), "is not encoded UTF-8", "不是编码后的 UTF-8") from None
    return checked(decoded, "s3", "object", "key")


def _version(version: str | None) -> str | None:
    """None for "null", the version of a bucket without versions: it pins nothing."""
    return None if version == "null" else version


def _etag(etag: str | None) -> str | None:
    return (etag.strip('"') or None) if etag else None


def _order(sequencer: str | None) -> str:
    """Hexadecimal numbers of differing length: compared as numbers, so padded on the left."""
    if sequencer and _HEX.fullmatch(sequencer):
        return f"hex:{int(sequencer, 16):032x}"
    return ""


def _ceph_order(sequencer: str | None) -> str:
    """Ceph prints the memory of two little-endian numbers: seconds, nanoseconds."""
    if not sequencer or len(sequencer) != 16 or not _HEX.fullmatch(sequencer):
        return ""
    seconds, nanoseconds = struct.unpack("<II", bytes.fromhex(sequencer))
    return f"ceph:{seconds:010d}.{nanoseconds:09d}"
