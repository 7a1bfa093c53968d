"""Relay's own record: the format in which a script announces an object of any storage.

A JSON object with "bucket" and "key", optionally "version", "etag", "size", "time" and "id", and
no other fields. handlers/README.md documents it for authors of scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from relay.errors import Unreadable
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none

REQUIRED = frozenset(("bucket", "key"))
FIELDS = REQUIRED | {"version", "etag", "size", "time", "id"}
"""All fields. The records of storages have others too, which distinguishes them."""


def is_own_record(record: Mapping[str, Any]) -> bool:
    """Whether the record has the required fields and no unknown ones."""
    return REQUIRED <= record.keys() <= FIELDS


def own_event(record: Mapping[str, Any]) -> Event:
    """Read the event; Unreadable when a field has a wrong type.

    `version` and `etag` pin the bytes. `time` orders the uploads of an object.
    """
    version, etag = _text_or_number(record, "version"), text_or_none(record, "etag")
    time = time_or_none(record, "time")
    ref = ObjectRef(
        bucket=text(record, "bucket"),
        key=text(record, "key"),
        version=None if version == "null" else version,
        etag=(etag.strip('"') or None) if etag else None,
        size=count_or_none(record, "size"),
    )
    order = f"relay:{time.isoformat(timespec='microseconds')}" if time else ""
    identity = _identity(ref, time, _text_or_number(record, "id"))
    return Event(ref, identity, "announced", time, order)


def _identity(ref: ObjectRef, time: datetime | None, record_id: str | None) -> str:
    if ref.version:
        return f"version:{ref.version}"
    if ref.etag and time:
        return f"etag:{ref.etag}@{time.isoformat()}"
    if record_id:
        return f"id:{record_id}"
    raise Unreadable(
        "record.nameless_version",
        Localized(
            "The record has no version, no etag with a time, and no id, so two uploads of the "
            "object cannot be distinguished",
            "记录中没有 version、没有 etag 和 time，也没有 id：无法区分该对象的不同上传",
        ),
        Localized("Add one of them.", "请补充其中之一。"),
    )


def _text_or_number(record: Mapping[str, Any], field: str) -> str | None:
    """Text, or a whole number as text: some storages number the generations of an object."""
    value = record.get(field)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**40:
        return str(value)
    return text_or_none(record, field)
