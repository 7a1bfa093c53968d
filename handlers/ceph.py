"""Ceph's RGW: its topics' records, bare or as CloudEvents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event
from relay.sources.s3.records import CEPH, events
from relay.sources.s3.settings import OwnStoreSettings, accepts
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.apply import ceph_changes
from relay.sources.setup.s3_stores import ceph, ceph_arn
from relay.sources.setup.steps import SetupChange, SetupContext, Step


class CephSettings(OwnStoreSettings):
    """RGW shows a user and a password; it signs nothing."""

    accept: tuple[str, ...] = accepts("cloudevents", "signed", "bare")


class Handler(S3Storage):
    """S3 records with keys as they are. Old releases call themselves aws:s3; it is known better.

    What other zones were sent (`ObjectSynced`) was told of where it was uploaded.
    """

    Settings: ClassVar[type[SourceSettings]] = CephSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        return events(record, self.settings.key_encoding, CEPH)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return ceph(door)

    def changes(self, door: SetupContext) -> Iterator[SetupChange]:
        return ceph_changes(door, self.client, ceph_arn(door))
