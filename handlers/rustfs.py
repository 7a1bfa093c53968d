"""RustFS: its webhook's records, which are MinIO's, and its buckets' rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event
from relay.sources.s3.records import events
from relay.sources.s3.settings import OwnStoreSettings, accepts
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.apply import rule_changes
from relay.sources.setup.s3_stores import rustfs, rustfs_arn
from relay.sources.setup.steps import SetupChange, SetupContext, Step


class RustfsSettings(OwnStoreSettings):
    """RustFS shows a token; it signs nothing."""

    accept: tuple[str, ...] = accepts("signed", "bare")


class Handler(S3Storage):
    """S3 records with keys that are url-encoded; old releases name no eventSource."""

    Settings: ClassVar[type[SourceSettings]] = RustfsSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        return events(record, self.settings.key_encoding, "rustfs:s3")

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return rustfs(door)

    def changes(self, door: SetupContext) -> Iterator[SetupChange]:
        return rule_changes(door, self.client, rustfs_arn(door))
