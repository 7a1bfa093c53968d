"""Oracle Cloud's Object Storage: told by Events through Notifications; read by the S3 protocol.

Wire format: OCI Events, "Services that produce events", Object Storage: CloudEvents 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from relay.config.load import SourceSettings
from relay.model import Event, ObjectRef
from relay.sources.fields import text, text_or_none, time_or_none
from relay.sources.s3.records import as_it_stands, identity_of, unquoted
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accepts, addressed
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.oci import oci
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(
    f"com.oraclecloud.objectstorage.{what}" for what in ("createobject", "updateobject")
)
"""A new object, and one that replaces another."""

_DETAILS = ("data", "additionalDetails")


class OciSettings(CloudStoreSettings):
    """Oracle's S3 protocol has a host for each namespace, and buckets in the path."""

    place: ClassVar[str] = "https://{namespace}.compat.objectstorage.{region}.oci.customer-oci.com"
    needed: ClassVar[tuple[str, ...]] = ("namespace", "region")
    accept: tuple[str, ...] = accepts("oci", "signed", "bare")
    addressing_style: Addressing = addressed("path")
    namespace: str | None = Field(
        None,
        pattern="^[A-Za-z0-9_-]{1,100}$",
        description="the tenancy's Object Storage namespace: letters, digits, _ and -",
    )


class Handler(S3Storage):
    """Oracle's events. Their eTag is not the S3 protocol's: the first look pins the object."""

    Settings: ClassVar[type[SourceSettings]] = OciSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event about a complete object."""
        type_ = text(record, "eventType")
        if type_ not in CREATED:
            return
        key = text(record, "data", "resourceName")
        ref = ObjectRef(
            text(record, *_DETAILS, "bucketName"),
            as_it_stands(key, self.settings.key_encoding, "data", "resourceName"),
        )
        time = time_or_none(record, "eventTime")
        yield Event(ref, identity_of(ref, time, upload=_upload(record)), type_, time)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return oci(door)


def _upload(record: Mapping[str, Any]) -> str | None:
    """By its eTag, which no two uploads share, not even of the same bytes."""
    if etag := unquoted(text_or_none(record, *_DETAILS, "eTag")):
        return f"etag:{etag}"
    event = text_or_none(record, "eventID")
    return f"event:{event}" if event else None
