"""Is this event one that we know? The same upload may be told of by a notification and by a scan.

Pure: an event and what the ledger holds of its object go in, the id of the known event comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from relay.ledger.rows import AnyRow
from relay.model import Event, ObjectRef

FOUND = "found"
"""The type of an event that a scan or a person came upon: `modified` of the listing is its time."""

CLOCKS = timedelta(seconds=2)
"""How far two times of one upload may lie apart: listings round to seconds, clocks differ."""


def match_known_event(event: Event, event_id: str, told: Sequence[AnyRow]) -> str | None:
    """The id of the event that told of this upload before; None: it is new.

    `told`: the events of the object, newest first.
    """
    for row in told:
        if _same_upload(event, event_id, row) and not _again(event, row, told):
            return str(row.id)
    return None


def _same_upload(event: Event, event_id: str, row: AnyRow) -> bool:
    if row.id == event_id:
        return True
    ref = event.object
    if ref.version and row.version:
        joined = FOUND in (event.type, row.type)
        return joined and bool(ref.version == row.version)
    if _nameless(ref) or _nameless(row):
        return _same_by_time(event, row)
    if ref.etag is None or ref.etag != row.etag:
        return False
    # What is found adds nothing to any event of these bytes.
    return event.type == FOUND or (row.type == FOUND and not _younger(event, row))


def _same_by_time(event: Event, row: AnyRow) -> bool:
    """Some storages announce neither version nor etag: the times and the size must do.

    Found and modified no later than an announcement: it is what was announced. Announced no
    later than what was found was modified: it adds nothing to that.
    """
    size = event.object.size
    if None not in (size, row.size) and size != row.size:
        return False
    if event.type == FOUND:
        return event.time is None or moment(row) >= event.time - CLOCKS
    if row.type != FOUND or row.time is None or event.time is None:
        return False
    return bool(row.time >= event.time - CLOCKS)


def _younger(event: Event, row: AnyRow) -> bool:
    """Whether these bytes were uploaded once more after they were found."""
    if event.time is None or row.time is None:
        return False
    # A multipart upload, which "-" in the etag tells, is listed with the time of its beginning.
    last = max(row.time, row.received) if "-" in (row.etag or "") else row.time
    return bool(last < event.time - CLOCKS)


def _again(event: Event, row: AnyRow, told: Sequence[AnyRow]) -> bool:
    """Whether the bytes of a known event came back after others had taken their place."""
    return _later(event, row) and any(
        _between(row, other, event) and not _same_bytes(event.object, other) for other in told
    )


def _later(event: Event, row: AnyRow) -> bool:
    if comparable(event.order, row.order):
        return bool(event.order > row.order)
    if event.type != FOUND or event.time is None:
        return False
    return bool(event.time > moment(row) + CLOCKS)


def _between(row: AnyRow, other: AnyRow, event: Event) -> bool:
    if other.id == row.id:
        return False
    if comparable(event.order, row.order) and comparable(event.order, other.order):
        return bool(row.order < other.order < event.order)
    end = event.time + CLOCKS if event.time else None
    return bool(moment(row) <= moment(other) and (end is None or moment(other) <= end))


def comparable(one: str, other: str) -> bool:
    """Whether two orders are of the same kind: they have one, and it is the same up to ':'."""
    prefix, colon, _ = one.partition(":")
    return bool(colon) and other.startswith(prefix + colon)


def moment(row: AnyRow) -> datetime:
    """When an event's object came into being, as far as the ledger knows."""
    return row.time if row.time is not None else row.received  # type: ignore[no-any-return]


def _same_bytes(ref: ObjectRef, row: AnyRow) -> bool:
    if ref.version and row.version:
        return bool(ref.version == row.version)
    return ref.etag is not None and bool(ref.etag == row.etag)


def _nameless(named: ObjectRef | AnyRow) -> bool:
    return not named.version and not named.etag
