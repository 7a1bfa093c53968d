"""Parsing of Google's events about objects, from Pub/Sub or Eventarc.

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
"""The object is complete; also sent for copies and restores, never for failed uploads."""


def parse_events(record: Mapping[str, Any]) -> Iterator[Event]:
    """The event in a message or a CloudEvent about a complete object, if any. Raises Unreadable.

    Keys are not encoded. The JSON etag does not work in If-Match: the generation pins the bytes.
    """
    if "pubsub" in record:
        yield from _pubsub_event(record)
    elif text(record, "type") == FINALIZED:
        yield generation_event(
            ObjectRef(
                text(record, "data", "bucket"),
                text(record, "data", "name"),
                version=str(count(record, "data", "generation")),
                size=count_or_none(record, "data", "size"),
            ),
            FINALIZED,
            time_or_none(record, "data", "timeCreated") or time_or_none(record, "time"),
        )


def generation_event(ref: ObjectRef, type_: str, time: datetime | None) -> Event:
    """The event of a generation, equal for all transports."""
    generation = ref.version or ""
    return Event(ref, f"version:{generation}", type_, time, f"generation:{generation:0>20}")


def _pubsub_event(record: Mapping[str, Any]) -> Iterator[Event]:
    """All but the size is in the attributes; payload format NONE omits the size."""
    attributes = ("pubsub", "attributes")
    if text(record, *attributes, "eventType") != FINALIZE:
        return
    resource = find(record, "pubsub", "data")
    ref = ObjectRef(
        text(record, *attributes, "bucketId"),
        text(record, *attributes, "objectId"),
        version=str(count(record, *attributes, "objectGeneration")),
        size=count_or_none(resource, "size") if isinstance(resource, Mapping) else None,
    )
    yield generation_event(ref, FINALIZE, time_or_none(record, *attributes, "eventTime"))
