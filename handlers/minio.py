"""MinIO: its webhook's records, its buckets' rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event
from relay.sources.s3.records import events
from relay.sources.s3.settings import OwnStoreSettings, accepts
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.apply import rule_changes
from relay.sources.setup.s3_stores import MINIO_ARN, minio
from relay.sources.setup.steps import SetupChange, SetupContext, Step


class MinioSettings(OwnStoreSettings):
    """MinIO shows a token; it signs nothing."""

    accept: tuple[str, ...] = accepts("signed", "bare")


class Handler(S3Storage):
    """S3 records with keys that are url-encoded, `/` too; versions only where they are kept."""

    Settings: ClassVar[type[SourceSettings]] = MinioSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        return events(record, self.settings.key_encoding, "minio:s3")

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return minio(door)

    def changes(self, door: SetupContext) -> Iterator[SetupChange]:
        return rule_changes(door, self.client, door.arn or MINIO_ARN)
