"""What Google says about a new object, by Pub/Sub or by Eventarc.

Wire formats: Cloud Storage, "Pub/Sub notifications for Cloud Storage"; google-cloudevents,
google.events.cloud.storage.v1 (StorageObjectData).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from relay.model import Event, ObjectRef
from relay.sources.fields import count, count_or_none, find, text, time_or_none

FINALIZE = "OBJECT_FINALIZE"
FINALIZED = "google.cloud.storage.object.v1.finalized"
"""The object is complete; also said of copies and of what was restored, never of failed uploads."""


def events(record: Mapping[str, Any]) -> Iterator[Event]:
    """The event in a message or a CloudEvent; none when no object became complete.

    Keys stand as they are. The JSON etag is of no use in If-Match: the generation pins the bytes.
    Raises Unreadable.
    """
    if "pubsub" in record:
        yield from _message(record)
    elif text(record, "type") == FINALIZED:
        yield named(
            ObjectRef(
                text(record, "data", "bucket"),
                text(record, "data", "name"),
                version=str(count(record, "data", "generation")),
                size=count_or_none(record, "data", "size"),
            ),
            FINALIZED,
            time_or_none(record, "data", "timeCreated") or time_or_none(record, "time"),
        )


def named(ref: ObjectRef, type_: str, time: datetime | None) -> Event:
    """The event of a generation: the same by whatever road the news came."""
    generation = ref.version or ""
    return Event(ref, f"version:{generation}", type_, time, f"generation:{generation:0>20}")


def _message(record: Mapping[str, Any]) -> Iterator[Event]:
    """The attributes say all but the size; without data (payload format NONE) that is unknown."""
    said = ("pubsub", "attributes")
    if text(record, *said, "eventType") != FINALIZE:
        return
    resource = find(record, "pubsub", "data")
    ref = ObjectRef(
        text(record, *said, "bucketId"),
        text(record, *said, "objectId"),
        version=str(count(record, *said, "objectGeneration")),
        size=count_or_none(resource, "size") if isinstance(resource, Mapping) else None,
    )
    yield named(ref, FINALIZE, time_or_none(record, *said, "eventTime"))
