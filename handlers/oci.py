"""Oracle Cloud Object Storage: Events through Notifications, read by the S3 protocol.

Wire format: OCI Events, "Services that produce events", Object Storage: CloudEvents 0.1. Source of
the set-up: reference of the `oci` command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from relay.config.load import SourceSettings
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import text, text_or_none, time_or_none
from relay.sources.s3.records import raw_key, strip_quotes, upload_identity
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accept_field, addressing_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    json_document,
    quote,
    url_with_login,
)

CREATED = (
    "com.oraclecloud.objectstorage.createobject",
    "com.oraclecloud.objectstorage.updateobject",
)
"""A new object, and an object that replaces another."""

_DETAILS = ("data", "additionalDetails")


class OciSettings(CloudStoreSettings):
    """The S3 protocol has a host per namespace, and the bucket in the path."""

    url_template: ClassVar[str] = (
        "https://{namespace}.compat.objectstorage.{region}.oci.customer-oci.com"
    )
    url_settings: ClassVar[tuple[str, ...]] = ("namespace", "region")
    accept: tuple[str, ...] = accept_field("oci", "signed", "bare")
    addressing_style: Addressing = addressing_field("path")
    namespace: str | None = Field(
        None,
        pattern="^[A-Za-z0-9_-]{1,100}$",
        description="the tenancy's Object Storage namespace: letters, digits, _ and -",
    )


class Handler(S3Storage):
    """Oracle's events. The eTag differs from that of the S3 protocol: the first read pins."""

    Settings: ClassVar[type[SourceSettings]] = OciSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event about a complete object."""
        type_ = text(record, "eventType")
        if type_ not in CREATED:
            return
        key = text(record, "data", "resourceName")
        ref = ObjectRef(
            text(record, *_DETAILS, "bucketName"),
            raw_key(key, self.settings.key_encoding, "data", "resourceName"),
        )
        time = time_or_none(record, "eventTime")
        yield Event(ref, upload_identity(ref, time, upload=_upload(record)), type_, time)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def _upload(record: Mapping[str, Any]) -> str | None:
    """The upload by eTag, which is unique even among uploads of the same bytes."""
    if etag := strip_quotes(text_or_none(record, *_DETAILS, "eTag")):
        return f"etag:{etag}"
    event = text_or_none(record, "eventID")
    return f"event:{event}" if event else None


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """Object events to a topic of Notifications, which posts to the hook."""
    compartment = '--compartment-id "$COMPARTMENT"'
    yield command(
        Localized(
            "Enable the object events of the buckets, and create a topic ($COMPARTMENT: the OCID "
            "of the compartment)",
            "开启存储桶的对象事件并创建主题（$COMPARTMENT 为区间 OCID）",
        ),
        *(
            command_line(
                "oci os bucket update", f"--name {quote(bucket)}", "--object-events-enabled true"
            )
            for bucket in context.buckets
        ),
        command_line("oci ons topic create", compartment, f"--name {context.name}"),
    )
    yield command(
        Localized(
            "Subscribe the hook while Relay is running and reachable: Relay confirms the "
            "subscription ($TOPIC: topic-id in the previous output; use a token of letters and "
            "digits)",
            "在 Relay 运行且可访问时订阅：它会自动确认"
            "（$TOPIC 为前一输出中的 topic-id；token 只含字母与数字）",
        ),
        command_line(
            "oci ons subscription create",
            compartment,
            '--topic-id "$TOPIC"',
            "--protocol CUSTOM_HTTPS",
            f"--subscription-endpoint {url_with_login(context)}",
        ),
    )
    yield json_document(
        Localized("Select the events", "选择事件"),
        {
            "eventType": list(CREATED),
            "data": {"additionalDetails": {"bucketName": list(context.buckets)}},
        },
        "condition.json",
    )
    yield json_document(
        Localized("The destination: insert the topic's OCID", "目标：填入主题的 OCID"),
        {"actions": [{"actionType": "ONS", "isEnabled": True, "topicId": "TOPIC_OCID"}]},
        "actions.json",
    )
    yield command(
        Localized("Create the rule", "创建规则"),
        command_line(
            "oci events rule create",
            compartment,
            f"--display-name {context.name}",
            "--is-enabled true",
            "--condition file://condition.json",
            "--actions file://actions.json",
        ),
    )
