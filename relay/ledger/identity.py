"""Matches an event with a stored event of the same upload.

A notification and a scan may announce the same upload with different ids. These functions are pure:
they take an event and the stored events of the object, and return the id of the match.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from relay.ledger.rows import AnyRow
from relay.model import Event, ObjectRef

FOUND = "found"
"""The type of an event from a scan or a submission; the listing's `modified` is the event time."""

TOLERANCE = timedelta(seconds=2)
"""Allowed distance between two times of an upload: listings round to seconds, clocks differ."""


def match_known_event(event: Event, event_id: str, rows: Sequence[AnyRow]) -> str | None:
    """Return the id of the stored event of this upload, or None if the upload is new.

    `rows` are the stored events of the object, newest first. A copy of an old notification matches
    its own event, even if the same bytes were uploaded again since.
    """
    for row in sorted(rows, key=lambda row: row.id != event_id):
        if _is_same_upload(event, event_id, row) and not _is_restored(event, row, rows):
            return str(row.id)
    return None


def _is_same_upload(event: Event, event_id: str, row: AnyRow) -> bool:
    if row.id == event_id:
        return True
    ref = event.object
    if ref.version and row.version:
        is_from_listing = FOUND in (event.type, row.type)
        return is_from_listing and bool(ref.version == row.version)
    if _is_unpinned(ref) or _is_unpinned(row):
        return _is_same_by_time(event, row)
    if ref.etag is None or ref.etag != row.etag:
        return False
    return FOUND in (event.type, row.type) and not _was_uploaded_again(event, row)


def _is_same_by_time(event: Event, row: AnyRow) -> bool:
    """Compare times and sizes, because some storages announce neither version nor etag.

    A listed object that was not modified after an announcement is the announced object, and an
    announcement that is no later than the listed modification adds nothing.
    """
    size = event.object.size
    if None not in (size, row.size) and size != row.size:
        return False
    if event.type == FOUND:
        return event.time is None or _moment(row) >= event.time - TOLERANCE
    if row.type != FOUND or row.time is None or event.time is None:
        return False
    return bool(row.time >= event.time - TOLERANCE)


def _was_uploaded_again(event: Event, row: AnyRow) -> bool:
    """Return whether the same bytes were uploaded once more after the stored event."""
    if event.time is None or (row.type == FOUND and row.time is None):
        return False
    # The times of the storage are compared with each other: its clock may differ from ours. But a
    # listing gives the start time of a multipart upload, whose etag contains "-", and the
    # announcement the end time: only an announcement after the listing was read is another upload.
    is_start = row.type == FOUND != event.type and "-" in row.etag
    last = max(row.time, row.received) if is_start else _moment(row)
    return bool(last < event.time - TOLERANCE)


def _is_restored(event: Event, row: AnyRow, rows: Sequence[AnyRow]) -> bool:
    """Return whether an object was overwritten, then restored: a new upload, not a duplicate."""
    return _is_later(event, row) and any(
        _is_between(row, other, event) and not _has_same_bytes(event.object, other)
        for other in rows
    )


def _is_later(event: Event, row: AnyRow) -> bool:
    if _are_comparable(event.order, row.order):
        return bool(event.order > row.order)
    if event.type != FOUND or event.time is None:
        return False
    return bool(event.time > _moment(row) + TOLERANCE)


def _is_between(row: AnyRow, other: AnyRow, event: Event) -> bool:
    if other.id == row.id:
        return False
    if _are_comparable(event.order, row.order) and _are_comparable(event.order, other.order):
        return bool(row.order < other.order < event.order)
    end = event.time + TOLERANCE if event.time else None
    return bool(_moment(row) <= _moment(other) and (end is None or _moment(other) <= end))


def _are_comparable(order: str, other: str) -> bool:
    prefix, colon, _ = order.partition(":")
    return bool(colon) and other.startswith(prefix + colon)


def _moment(row: AnyRow) -> datetime:
    """Return when the object was created, as far as it is known."""
    return row.time if row.time is not None else row.received  # type: ignore[no-any-return]


def _has_same_bytes(ref: ObjectRef, row: AnyRow) -> bool:
    if ref.version and row.version:
        return bool(ref.version == row.version)
    return ref.etag is not None and bool(ref.etag == row.etag)


def _is_unpinned(ref: ObjectRef | AnyRow) -> bool:
    return not ref.version and not ref.etag
