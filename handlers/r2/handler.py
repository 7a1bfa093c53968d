"""Cloudflare R2: told by a queue that is pulled; read by the S3 protocol.

Wire format: R2, "Event notifications", "Message format".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.handlers.r2.queue import CloudflareQueue
from relay.model import Event, ObjectRef
from relay.sources.contract import Queue
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none
from relay.sources.s3.records import as_it_stands, identity_of, unquoted
from relay.sources.s3.settings import CloudStoreSettings, accepts
from relay.sources.s3.storage import Address, S3Storage
from relay.sources.setup.b2 import r2
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(("PutObject", "CopyObject", "CompleteMultipartUpload"))

_ID = "^[A-Za-z0-9_-]{1,100}$"


class R2Settings(CloudStoreSettings):
    """`account` is needed for the queue too, wherever the bucket is."""

    place: ClassVar[str] = "https://{account}.r2.cloudflarestorage.com"
    needed: ClassVar[tuple[str, ...]] = ("account",)
    accept: tuple[str, ...] = accepts("signed", "bare")
    region: str | None = Field(
        "auto", pattern=_ID, description="auto: R2 knows where its buckets are"
    )
    account: str | None = Field(
        None, pattern=_ID, description="the id of the Cloudflare account: letters, digits, _ and -"
    )
    queue_id: str | None = Field(
        None,
        pattern=_ID,
        description="the id of the queue to pull notifications from: letters, digits, _ and -",
    )
    queue_token: Annotated[SecretStr | None, BeforeValidator(rules.nothing_if_empty)] = Field(
        None, description="an API token that may read and write Queues"
    )
    api_url: Address = Field(
        "https://api.cloudflare.com/client/v4", description="where Cloudflare's API is"
    )

    @model_validator(mode="after")
    def _queue_is_whole(self) -> Self:
        whole = (self.queue_id, self.queue_token, self.account)
        if (self.queue_id or self.queue_token) and not all(whole):
            raise ValueError("account, queue_id and queue_token belong together: set all")
        return self


class Handler(S3Storage):
    """R2's messages. They have no id: an upload is known by its ETag and its time."""

    Settings: ClassVar[type[SourceSettings]] = R2Settings
    settings: R2Settings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event of a message about a complete object."""
        action = text(record, "action")
        if action not in CREATED:
            return
        key = text(record, "object", "key")
        ref = ObjectRef(
            text(record, "bucket"),
            as_it_stands(key, self.settings.key_encoding, "object", "key"),
            etag=unquoted(text_or_none(record, "object", "eTag")),
            size=count_or_none(record, "object", "size"),
        )
        time = time_or_none(record, "eventTime")
        yield Event(ref, identity_of(ref, time), action, time)

    def queue(self) -> Queue | None:
        """The queue of `queue_id`."""
        return self._queue() or super().queue()

    def ready(self) -> str | None:
        """Also asks for the queue."""
        tried, queue = [super().ready()], self._queue()
        if queue:
            try:
                tried.append(queue.check())
            finally:
                queue.close()
        return ", ".join(filter(None, tried)) or None

    def setup(self, door: SetupContext) -> Iterator[Step]:
        return r2(door)

    def _queue(self) -> CloudflareQueue | None:
        wanted = self.settings
        if not (wanted.queue_id and wanted.queue_token):
            return None
        url = f"{wanted.api_url}/accounts/{wanted.account}/queues/{wanted.queue_id}"
        return CloudflareQueue(self.name, url, wanted.queue_token.get_secret_value())
