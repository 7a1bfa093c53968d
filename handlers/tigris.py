"""Tigris: events of the webhook, read by the S3 protocol.

Wire format: Tigris, "Object notifications".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from relay.config.load import SourceSettings
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none
from relay.sources.s3.records import raw_key, strip_quotes, upload_identity
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accept_field, addressing_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import SetupContext, Step, json_document, note

CREATED = frozenset(f"OBJECT_CREATED_{how}" for how in ("PUT", "MULTIPART", "COPY"))


class TigrisSettings(CloudStoreSettings):
    """Tigris has a single global address, and sends a token."""

    url_template: ClassVar[str] = "https://t3.storage.dev"
    url_settings: ClassVar[tuple[str, ...]] = ()
    accept: tuple[str, ...] = accept_field("signed", "bare")
    addressing_style: Addressing = addressing_field("virtual")
    region: str | None = Field(
        "auto",
        pattern="^[A-Za-z0-9-]{1,64}$",
        description="auto: Tigris finds the region of a bucket",
    )


class Handler(S3Storage):
    """Tigris's events. They have no id: ETag and time identify an upload."""

    Settings: ClassVar[type[SourceSettings]] = TigrisSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        name = text(record, "eventName")
        if name not in CREATED:
            return
        key = text(record, "object", "key")
        ref = ObjectRef(
            text(record, "bucket"),
            raw_key(key, self.settings.key_encoding, "object", "key"),
            etag=strip_quotes(text_or_none(record, "object", "eTag")),
            size=count_or_none(record, "object", "size"),
        )
        time = time_or_none(record, "eventTime")
        yield Event(ref, upload_identity(ref, time), name, time)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def setup_steps(context: SetupContext) -> Iterator[Step]:
    buckets, token = ", ".join(context.buckets), context.reference("token")
    yield note(
        Localized(
            f"In the Tigris dashboard, for each of {buckets}: Settings > Object Notifications; "
            f"webhook {context.url}, authentication Token = the value of {token}",
            f"在 Tigris 控制台中为 {buckets} 打开 Settings > Object Notifications；"
            f"webhook 为 {context.url}，Token 为 {token} 的值",
        )
    )
    yield json_document(
        Localized("Or use the API, object_notifications", "或使用其 API 的 object_notifications"),
        {
            "object_notifications": {
                "enabled": True,
                "webhook": context.url,
                "auth": {"token": token},
            }
        },
    )
    yield note(
        Localized(
            "Tigris gives up after three attempts: set scan_every",
            "Tigris 尝试三次后放弃：请设置 scan_every",
        )
    )
