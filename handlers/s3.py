"""Amazon S3, and every store that speaks S3 and writes S3 records, by its `endpoint_url`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event
from relay.sources.s3.records import events
from relay.sources.s3.settings import accepts
from relay.sources.s3.storage import S3Settings, S3Storage
from relay.sources.setup.apply import s3_changes
from relay.sources.setup.s3_stores import s3
from relay.sources.setup.steps import SetupChange, SetupContext, Step


class AnyS3Settings(S3Settings):
    """AWS tells by SNS, by SQS or by EventBridge; other stores mostly show a token."""

    accept: tuple[str, ...] = accepts("sns", "eventbridge", "signed", "bare")


class Handler(S3Storage):
    """S3 records, bare or as EventBridge events; reading, listing and SQS as for all S3 stores."""

    Settings: ClassVar[type[SourceSettings]] = AnyS3Settings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        return events(record, self.settings.key_encoding)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return s3(door)

    def changes(self, door: SetupContext) -> Iterator[SetupChange]:
        return s3_changes(door, self.client)
