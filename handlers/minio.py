"""MinIO: its webhook's records, its buckets' rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.model import Event
from relay.s3 import S3Storage
from relay.s3_places import OwnStoreSettings, accepts
from relay.s3_records import events
from relay.settings import SourceSettings
from relay.setup import Change, Door, Step
from relay.setup_changes import rule_changes
from relay.setup_stores import MINIO_ARN, minio


class MinioSettings(OwnStoreSettings):
    """MinIO shows a token; it signs nothing."""

    accept: tuple[str, ...] = accepts("signed", "bare")


class Handler(S3Storage):
    """S3 records with keys that are url-encoded, `/` too; versions only where they are kept."""

    Settings: ClassVar[type[SourceSettings]] = MinioSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        return events(record, self.settings.key_encoding, "minio:s3")

    def setup(self, door: Door) -> Iterator[Step]:
        return minio(door)

    def changes(self, door: Door) -> Iterator[Change]:
        return rule_changes(door, self.client, door.arn or MINIO_ARN)
