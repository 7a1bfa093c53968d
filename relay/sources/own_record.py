"""Relay's own record: how anybody's script announces an object, of whatever storage.

An object with "bucket" and "key"; "version", "etag", "size", "time" and "id" as far as they are
known; and nothing else. handlers/README.md says it to those who write such scripts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from relay.errors import Unreadable
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none

NEEDED = frozenset(("bucket", "key"))
FIELDS = NEEDED | {"version", "etag", "size", "time", "id"}
"""No storage's own record has these alone: that is how ours is told from them."""


def is_own_record(record: Mapping[str, Any]) -> bool:
    """Whether it has the fields of ours, and no others."""
    return NEEDED <= record.keys() <= FIELDS


def own_event(record: Mapping[str, Any]) -> Event:
    """The event in a record of ours. Unreadable when a field is not what it should be.

    `version` and `etag` pin the bytes; the one with the later `time` is the newer one.
    """
    version, etag = _name(record, "version"), text_or_none(record, "etag")
    time = time_or_none(record, "time")
    ref = ObjectRef(
        bucket=text(record, "bucket"),
        key=text(record, "key"),
        version=None if version == "null" else version,
        etag=(etag.strip('"') or None) if etag else None,
        size=count_or_none(record, "size"),
    )
    order = f"relay:{time.isoformat(timespec='microseconds')}" if time else ""
    return Event(ref, _identity(ref, time, _name(record, "id")), "announced", time, order)


def _identity(ref: ObjectRef, time: datetime | None, name: str | None) -> str:
    if ref.version:
        return f"version:{ref.version}"
    if ref.etag and time:
        return f"etag:{ref.etag}@{time.isoformat()}"
    if name:
        return f"id:{name}"
    raise Unreadable(
        "record.nameless_version",
        Localized(
            "The record has no version, no etag with a time, and no id: one upload of the object "
            "cannot be told from another",
            "记录中没有 version、没有 etag 和 time、也没有 id: 无法区分该对象的不同上传",
        ),
        Localized("Add any of them.", "请补充其中之一。"),
    )


def _name(record: Mapping[str, Any], field: str) -> str | None:
    """A text, or a whole number: generations are numbers to some."""
    found = record.get(field)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 10**40:
        return str(found)
    return text_or_none(record, field)
