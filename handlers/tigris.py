"""Tigris: its webhook's events; read by the S3 protocol.

Wire format: Tigris, "Object notifications".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from relay.config.load import SourceSettings
from relay.model import Event, ObjectRef
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none
from relay.sources.s3.records import as_it_stands, identity_of, unquoted
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accepts, addressed
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.s3_stores import tigris
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(f"OBJECT_CREATED_{how}" for how in ("PUT", "MULTIPART", "COPY"))


class TigrisSettings(CloudStoreSettings):
    """Tigris is at one address for the whole world, and shows a token."""

    place: ClassVar[str] = "https://t3.storage.dev"
    needed: ClassVar[tuple[str, ...]] = ()
    accept: tuple[str, ...] = accepts("signed", "bare")
    addressing_style: Addressing = addressed("virtual")
    region: str | None = Field(
        "auto",
        pattern="^[A-Za-z0-9-]{1,64}$",
        description="auto: Tigris knows where its buckets are",
    )


class Handler(S3Storage):
    """Tigris's events. They have no id: an upload is known by its ETag and its time."""

    Settings: ClassVar[type[SourceSettings]] = TigrisSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        name = text(record, "eventName")
        if name not in CREATED:
            return
        key = text(record, "object", "key")
        ref = ObjectRef(
            text(record, "bucket"),
            as_it_stands(key, self.settings.key_encoding, "object", "key"),
            etag=unquoted(text_or_none(record, "object", "eTag")),
            size=count_or_none(record, "object", "size"),
        )
        time = time_or_none(record, "eventTime")
        yield Event(ref, identity_of(ref, time), name, time)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return tigris(door)
