"""IBM Cloud Object Storage: events through Code Engine, read by the S3 protocol.

Wire format: Code Engine, "Working with the IBM Cloud Object Storage event producer"; an on-premises
Cloud Object Storage writes the same notification to Kafka. Source of the set-up: reference of the
`ibmcloud ce` command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, find, text, text_or_none, time_or_none, wrong_field
from relay.sources.s3.records import raw_key, strip_quotes, unwrap_record, upload_identity
from relay.sources.s3.settings import CloudStoreSettings, accept_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    filter_options,
    quote,
    relay_toml,
)

CREATED = frozenset(("Object:Write",))


class IbmSettings(CloudStoreSettings):
    """Code Engine sends the subscription's extension as the header `token_header`."""

    url_template: ClassVar[str] = "https://s3.{region}.cloud-object-storage.appdomain.cloud"
    accept: tuple[str, ...] = accept_field("cloudevents", "signed", "bare")


class Handler(S3Storage):
    """IBM's notifications, bare or in CloudEvents."""

    Settings: ClassVar[type[SourceSettings]] = IbmSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a notification about a complete object."""
        inner = unwrap_record(record)
        inner = inner if "event_type" in inner else find(inner, "notification")
        if not isinstance(inner, Mapping):
            raise wrong_field(("notification",), "should be an object", "应为对象")
        type_ = text(inner, "event_type")
        if type_ not in CREATED:
            return
        key = text(inner, "object_name")
        ref = ObjectRef(
            text(inner, "bucket_name"),
            raw_key(key, self.settings.key_encoding, "object_name"),
            etag=strip_quotes(text_or_none(inner, "object_etag")),
            size=count_or_none(inner, "object_length"),
        )
        time = time_or_none(inner, "request_time")
        request = text_or_none(inner, "request_id")
        upload = f"request:{request}" if request else None
        yield Event(ref, upload_identity(ref, time, upload=upload), type_, time)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """A subscription of Code Engine, where Relay must run as an application."""
    yield relay_toml(
        Localized(
            "In relay.toml: the header with the token", "写入 relay.toml：携带 token 的请求头"
        ),
        context,
        'token_header = "ce-relaytoken"',
    )
    yield command(
        Localized(
            "Run Relay as the Code Engine application `relay`, in the bucket's region. Code "
            "Engine needs the role Notifications Manager on the COS instance",
            "在存储桶所在区域将 Relay 作为 Code Engine 应用 `relay` 运行。"
            "Code Engine 需拥有 COS 实例的 Notifications Manager 角色",
        ),
        *(
            command_line(
                "ibmcloud ce subscription cos create",
                f"--name {context.name}-{number}",
                "--destination-type app",
                "--destination relay",
                f"--path {quote(context.path)}",
                f"--bucket {quote(bucket)}",
                "--event-type write",
                f'--extension "relaytoken={context.reference("token")}"',
                *filter_options(context, bucket),
            )
            for number, bucket in enumerate(context.buckets)
        ),
    )
