"""Cloudflare R2: events from a queue that Relay polls, read by the S3 protocol.

Wire format: R2, "Event notifications", "Message format".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.handlers.r2.queue import CloudflareQueue
from relay.handlers.r2.setup import setup_steps
from relay.model import Event, ObjectRef
from relay.sources.contract import Queue
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none
from relay.sources.s3.records import raw_key, strip_quotes, upload_identity
from relay.sources.s3.settings import CloudStoreSettings, accept_field
from relay.sources.s3.storage import Address, S3Storage
from relay.sources.setup.steps import SetupContext, Step

CREATED = frozenset(("PutObject", "CopyObject", "CompleteMultipartUpload"))

_ID = "^[A-Za-z0-9_-]{1,100}$"


class R2Settings(CloudStoreSettings):
    """`account` is also part of the queue's address."""

    url_template: ClassVar[str] = "https://{account}.r2.cloudflarestorage.com"
    url_settings: ClassVar[tuple[str, ...]] = ("account",)
    accept: tuple[str, ...] = accept_field("signed", "bare")
    region: str | None = Field(
        "auto", pattern=_ID, description="auto: R2 finds the region of a bucket"
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
        None, description="an API token with the permissions Queues Read and Write"
    )
    api_url: Address = Field(
        "https://api.cloudflare.com/client/v4", description="the address of Cloudflare's API"
    )

    @model_validator(mode="after")
    def _check_queue(self) -> Self:
        required = (self.queue_id, self.queue_token, self.account)
        if (self.queue_id or self.queue_token) and not all(required):
            raise ValueError("account, queue_id and queue_token belong together: set all")
        return self


class Handler(S3Storage):
    """R2's messages. They have no id: ETag and time identify an upload."""

    Settings: ClassVar[type[SourceSettings]] = R2Settings
    settings: R2Settings
    queue_settings: ClassVar[tuple[str, ...]] = (*S3Storage.queue_settings, "queue_id")

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a message about a complete object."""
        action = text(record, "action")
        if action not in CREATED:
            return
        key = text(record, "object", "key")
        ref = ObjectRef(
            text(record, "bucket"),
            raw_key(key, self.settings.key_encoding, "object", "key"),
            etag=strip_quotes(text_or_none(record, "object", "eTag")),
            size=count_or_none(record, "object", "size"),
        )
        time = time_or_none(record, "eventTime")
        yield Event(ref, upload_identity(ref, time), action, time)

    def queue(self) -> Queue | None:
        """The queue of `queue_id`."""
        return self._queue() or super().queue()

    def ready(self) -> str | None:
        """Also read the queue's metadata."""
        results = [super().ready()]
        if queue := self._queue():
            with closing(queue):
                results.append(queue.check())
        return ", ".join(filter(None, results)) or None

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def _queue(self) -> CloudflareQueue | None:
        settings = self.settings
        if not (settings.queue_id and settings.queue_token):
            return None
        url = f"{settings.api_url}/accounts/{settings.account}/queues/{settings.queue_id}"
        return CloudflareQueue(self.name, url, settings.queue_token.get_secret_value())
