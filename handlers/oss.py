"""Alibaba Cloud OSS: told by an MNS topic or by EventBridge, read by the S3 protocol.

Wire formats: OSS developer reference, "Event notifications"; EventBridge, "Alibaba Cloud OSS
events".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import field_validator

from relay.config.load import SourceSettings
from relay.model import Event, ObjectRef
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none
from relay.sources.s3.records import KeyEncoding, as_it_stands, identity_of, said_in, unquoted
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accepts, addressed
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.oss import oss
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(
    f"ObjectCreated:{how}"
    for how in ("PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload")
)
"""Parts and the start of a multipart upload are ObjectCreated too; what is appended to, and
links, are no archives that are complete."""


class OssSettings(CloudStoreSettings):
    """OSS takes no buckets in the path."""

    place: ClassVar[str] = "https://s3.oss-{region}.aliyuncs.com"
    accept: tuple[str, ...] = accepts("mns", "cloudevents", "signed", "bare")
    addressing_style: Addressing = addressed("virtual")

    @field_validator("region")
    @classmethod
    def _plain(cls, region: str | None) -> str | None:
        """Regions are called oss-cn-hangzhou too."""
        return region.removeprefix("oss-") if region else region


class Handler(S3Storage):
    """OSS's own events, as they are or as the data of CloudEvents; keys stand as they are."""

    Settings: ClassVar[type[SourceSettings]] = OssSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a record about a complete object."""
        said = said_in(record)
        name = text(said, "eventName")
        if name in CREATED:
            yield _event(said, name, self.settings.key_encoding)

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return oss(door)


def _event(said: Mapping[str, Any], name: str, encoding: KeyEncoding) -> Event:
    # Whether the S3 protocol's ETag is spelt as the event's is not documented: it does not pin.
    etag = unquoted(text_or_none(said, "oss", "object", "eTag"))
    key = text(said, "oss", "object", "key")
    ref = ObjectRef(
        text(said, "oss", "bucket", "name"),
        as_it_stands(key, encoding, "oss", "object", "key"),
        size=count_or_none(said, "oss", "object", "size"),
    )
    time = time_or_none(said, "eventTime")
    request = text_or_none(said, "responseElements", "requestId")
    upload = f"request:{request}+{etag or ''}" if request else None
    return Event(ref, identity_of(ref, time, upload=upload, etag=etag), name, time)
