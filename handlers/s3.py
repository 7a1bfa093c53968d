"""Amazon S3, and every store that speaks S3 and writes S3 records, by its `endpoint_url`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.model import Event
from relay.s3 import S3Storage
from relay.s3_records import events


class Handler(S3Storage):
    """S3 records, bare or as EventBridge events; reading, listing and SQS as for all S3 stores."""

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        return events(record, self.settings.key_encoding)
