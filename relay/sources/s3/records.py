"""Parsing of S3 records from AWS and compatible stores, and helpers for related formats.

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
"""The events after which the object is complete. A prefix is not enough: compatible stores also
announce tags, retention and the start of multipart uploads under ObjectCreated."""

REASONS = frozenset(
    (
        *("PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"),
        *("Put", "Post", "Copy", "ObjectCreated"),  # emulators
    )
)
"""The reasons of EventBridge events after which the object is complete."""

CEPH = "ceph:s3"
RAW_KEYS = frozenset((CEPH,))
"""Event sources that do not encode the key."""

REQUEST_IDS = ("x-amz-request-id", "x-obs-request-id")

_HEX = re.compile(r"[0-9A-Fa-f]{1,32}")


def parse_events(
    record: Mapping[str, Any], key_encoding: KeyEncoding = "auto", source: str = ""
) -> Iterator[Event]:
    """The event in an S3 record or an EventBridge event; none if it is not a complete object.

    `key_encoding`: "url" decodes the key like a form field, "raw" keeps it, "auto" depends on
    `source`, by default the record's eventSource. Raises Unreadable.
    """
    if is_test_event(record):
        return
    if "detail-type" in record:
        yield from _eventbridge_event(record)
        return
    name = text(record, "eventName").removeprefix("s3:")
    if name not in CREATED:
        return
    check_version(record, "2")
    source = source or text_or_none(record, "eventSource") or ""
    is_ceph = source == CEPH
    if key_encoding == "auto" and source in RAW_KEYS:
        key_encoding = "raw"
    ref = parse_object(record, "s3", key_encoding)
    if is_ceph and name == "ObjectCreated:Post" and not ref.size:
        return  # Ceph also reports Post, without a size, for the start of a multipart upload
    sequencer = text_or_none(record, "s3", "object", "sequencer")
    order = _ceph_order(sequencer) if is_ceph else hex_order(sequencer)
    event_id = text_or_none(record, "eventId") if is_ceph else None
    upload = f"event:{event_id}" if event_id else _by_sequencer(sequencer, order, ref)
    time = time_or_none(record, "eventTime")
    identity = upload_identity(ref, time, upload=upload, request=request_id(record))
    yield Event(ref, identity, name, time, order)


def is_test_event(record: Mapping[str, Any]) -> bool:
    """Whether the record only reports that notifications were enabled."""
    return str(record.get("Event", "")).endswith("TestEvent") and "eventName" not in record


def check_version(record: Mapping[str, Any], *known: str) -> None:
    """Raise Unreadable if the record's major version is unknown."""
    version = text_or_none(record, "eventVersion")
    if version is not None and version.partition(".")[0] not in known:
        raise wrong_field(("eventVersion",), "has an unknown version", "为未知版本")


def parse_object(record: Mapping[str, Any], block: str, encoding: KeyEncoding) -> ObjectRef:
    """The object in the record's `block`; the key is raw only if `encoding` is."""
    return ObjectRef(
        bucket=text(record, block, "bucket", "name"),
        key=decode_key(text(record, block, "object", "key"), encoding, block, "object", "key"),
        version=_version(text_or_none(record, block, "object", "versionId")),
        etag=strip_quotes(text_or_none(record, block, "object", "eTag")),
        size=count_or_none(record, block, "object", "size"),
    )


def decode_key(key: str, encoding: KeyEncoding, *path: str) -> str:
    """The decoded key, unless `encoding` is "raw". `path` is the field's place, for the error."""
    if encoding == "raw":
        return key
    try:
        return check_text(unquote_plus(key, errors="strict"), *path)
    except UnicodeDecodeError:
        raise wrong_field(path, "is not encoded UTF-8", "不是编码后的 UTF-8") from None


def raw_key(key: str, encoding: KeyEncoding, *path: str) -> str:
    """The key from a store that does not encode keys; decoded only if `encoding` is "url"."""
    return decode_key(key, encoding, *path) if encoding == "url" else key


def unwrap_record(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The store's own record: the record itself, or the data of a CloudEvent."""
    inner = find(record, "data") if "specversion" in record else record
    if not isinstance(inner, Mapping):
        raise wrong_field(("data",), "should be an object", "应为对象")
    return inner


def upload_identity(
    ref: ObjectRef,
    time: datetime | None,
    *,
    upload: str | None = None,
    request: str | None = None,
    etag: str | None = None,
) -> str:
    """The identity of an upload, equal for all transports of the notification.

    `upload`: the store's own id of the upload; `request`: the request that created it; `etag`: an
    ETag that cannot be used in If-Match. Unreadable if the record does not distinguish uploads.
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
            "The record has no version, sequencer, etag or time: uploads of the object cannot be "
            "distinguished",
            "记录中没有 version、sequencer、etag 或时间：无法区分该对象的不同上传",
        ),
    )


def request_id(record: Mapping[str, Any]) -> str | None:
    """The id of the request that created the object."""
    ids = (text_or_none(record, "responseElements", name) for name in REQUEST_IDS)
    return next(filter(None, ids), None)


def strip_quotes(etag: str | None) -> str | None:
    """An ETag without quotes; None for an empty ETag."""
    return (etag.strip('"') or None) if etag else None


def hex_order(sequencer: str | None) -> str:
    """Pad hexadecimal numbers on the left, so that they compare as numbers."""
    if sequencer and _HEX.fullmatch(sequencer):
        return f"hex:{int(sequencer, 16):032x}"
    return ""


def _eventbridge_event(record: Mapping[str, Any]) -> Iterator[Event]:
    type_ = text(record, "detail-type")
    reason = text_or_none(record, "detail", "reason")
    if type_ != "Object Created" or (reason and reason not in REASONS):
        return
    etag = text_or_none(record, "detail", "object", "etag")
    ref = ObjectRef(
        bucket=text(record, "detail", "bucket", "name"),
        key=text(record, "detail", "object", "key"),
        version=_version(text_or_none(record, "detail", "object", "version-id")),
        etag=strip_quotes(etag or text_or_none(record, "detail", "object", "eTag")),
        size=count_or_none(record, "detail", "object", "size"),
    )
    sequencer = text_or_none(record, "detail", "object", "sequencer")
    order = hex_order(sequencer)
    time = time_or_none(record, "time")
    request = text_or_none(record, "detail", "request-id")
    upload = _by_sequencer(sequencer, order, ref)
    identity = upload_identity(ref, time, upload=upload, request=request)
    yield Event(ref, identity, f"{type_}:{reason}" if reason else type_, time, order)


def _by_sequencer(sequencer: str | None, order: str, ref: ObjectRef) -> str | None:
    return f"sequencer:{order or sequencer}+{ref.etag or ''}" if sequencer else None


def _version(version: str | None) -> str | None:
    """None for "null", the version in an unversioned bucket, which pins nothing."""
    return None if version == "null" else version


def _ceph_order(sequencer: str | None) -> str:
    """Ceph prints two little-endian numbers from memory: seconds and nanoseconds."""
    if not sequencer or len(sequencer) != 16 or not _HEX.fullmatch(sequencer):
        return ""
    seconds, nanoseconds = struct.unpack("<II", bytes.fromhex(sequencer))
    return f"ceph:{seconds:010d}.{nanoseconds:09d}"
