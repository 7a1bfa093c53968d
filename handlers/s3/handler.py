"""Amazon S3, and every store with the S3 API and S3 records, by `endpoint_url`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.handlers.s3.apply import aws_changes
from relay.handlers.s3.setup import setup_steps
from relay.model import Event
from relay.sources.s3.records import parse_events
from relay.sources.s3.settings import accept_field
from relay.sources.s3.storage import S3Settings, S3Storage
from relay.sources.setup.steps import SetupChange, SetupContext, Step


class AnyS3Settings(S3Settings):
    """AWS sends through SNS, SQS or EventBridge; most other stores send a token."""

    accept: tuple[str, ...] = accept_field("sns", "eventbridge", "signed", "bare")


class Handler(S3Storage):
    """S3 records, bare or as EventBridge events."""

    Settings: ClassVar[type[SourceSettings]] = AnyS3Settings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        return parse_events(record, self.settings.key_encoding)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def changes(self, context: SetupContext) -> Iterator[SetupChange]:
        return aws_changes(context, self.client)
