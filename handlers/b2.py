"""Backblaze B2: its signed event notifications; read by the S3 protocol.

Wire format: Backblaze, "Event Notifications Reference Guide".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, ObjectRef
from relay.sources.fields import count_or_none, epoch_or_none, text, text_or_none
from relay.sources.s3.records import as_it_stands, identity_of
from relay.sources.s3.settings import CloudStoreSettings, accepts
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.b2 import b2
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(
    f"b2:ObjectCreated:{how}"
    for how in ("Upload", "MultipartUpload", "Copy", "Replica", "MultipartReplica")
)
"""b2:MultipartUploadCreated:* are only begun."""


class B2Settings(CloudStoreSettings):
    """`secret` is the rule's signing secret."""

    place: ClassVar[str] = "https://s3.{region}.backblazeb2.com"
    accept: tuple[str, ...] = accepts("b2", "signed", "bare")


class Handler(S3Storage):
    """Files by their versions, which B2 always keeps; names stand as they are."""

    Settings: ClassVar[type[SourceSettings]] = B2Settings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete file."""
        type_ = text(record, "eventType")
        if type_ not in CREATED:
            return
        ref = ObjectRef(
            text(record, "bucketName"),
            as_it_stands(text(record, "objectName"), self.settings.key_encoding, "objectName"),
            version=text_or_none(record, "objectVersionId"),
            size=count_or_none(record, "objectSize"),
        )
        time = epoch_or_none(record, "eventTimestamp", per_second=1000)
        event = text_or_none(record, "eventId")
        identity = identity_of(ref, time, upload=f"event:{event}" if event else None)
        yield Event(ref, identity, type_, time)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return b2(door)
