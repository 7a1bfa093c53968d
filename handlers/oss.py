"""Alibaba Cloud OSS: events through an MNS topic or EventBridge, read by the S3 protocol.

Wire formats: OSS developer reference, "Event notifications"; EventBridge, "Alibaba Cloud OSS
events". Sources of the set-up: API reference of SMQ 2022-01-19, the alicloud Terraform provider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import field_validator

from relay.config.load import SourceSettings
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, text, text_or_none, time_or_none
from relay.sources.s3.records import (
    KeyEncoding,
    raw_key,
    strip_quotes,
    unwrap_record,
    upload_identity,
)
from relay.sources.s3.settings import Addressing, CloudStoreSettings, accept_field, addressing_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    note,
    quote,
    relay_toml,
    terraform,
    url_with_token,
)
from relay.sources.setup.terraform import Expression, join_blocks, resource, secret_variable

CREATED = (
    "ObjectCreated:PutObject",
    "ObjectCreated:PostObject",
    "ObjectCreated:CopyObject",
    "ObjectCreated:CompleteMultipartUpload",
)
"""Other ObjectCreated events announce parts, the start of an upload, appends and links."""


class OssSettings(CloudStoreSettings):
    """OSS rejects bucket names in the path."""

    url_template: ClassVar[str] = "https://s3.oss-{region}.aliyuncs.com"
    accept: tuple[str, ...] = accept_field("mns", "cloudevents", "signed", "bare")
    addressing_style: Addressing = addressing_field("virtual")

    @field_validator("region")
    @classmethod
    def _strip_prefix(cls, region: str | None) -> str | None:
        """Alibaba also writes oss-cn-hangzhou for cn-hangzhou."""
        return region.removeprefix("oss-") if region else region


class Handler(S3Storage):
    """OSS's events, bare or as the data of CloudEvents, with raw keys."""

    Settings: ClassVar[type[SourceSettings]] = OssSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        inner = unwrap_record(record)
        name = text(inner, "eventName")
        if name in CREATED:
            yield _event(inner, name, self.settings.key_encoding)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def _event(record: Mapping[str, Any], name: str, encoding: KeyEncoding) -> Event:
    # No document says that this ETag equals the S3 protocol's, so it does not pin the object.
    etag = strip_quotes(text_or_none(record, "oss", "object", "eTag"))
    key = text(record, "oss", "object", "key")
    ref = ObjectRef(
        text(record, "oss", "bucket", "name"),
        raw_key(key, encoding, "oss", "object", "key"),
        size=count_or_none(record, "oss", "object", "size"),
    )
    time = time_or_none(record, "eventTime")
    request = text_or_none(record, "responseElements", "requestId")
    upload = f"request:{request}+{etag or ''}" if request else None
    return Event(ref, upload_identity(ref, time, upload=upload, etag=etag), name, time)


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """A topic of SMQ (formerly MNS), which signs, and a rule by which OSS writes to it."""
    topics = context.settings.mns_topics
    topic = (topics[0].rpartition("/")[2] if topics else "") or context.name
    yield command(
        Localized(
            "Create the topic, and subscribe the hook. SMQ signs, but some of its certificates "
            "are too weak as proof: the address also needs the token (letters and digits only)",
            "创建主题并订阅 hook。SMQ 自带签名，但部分证书强度不足：地址中仍需 token"
            "（只含字母与数字）",
        ),
        command_line("aliyun mns-open CreateTopic", f"--TopicName {quote(topic)}"),
        command_line(
            "aliyun mns-open Subscribe",
            f"--TopicName {quote(topic)}",
            f"--SubscriptionName {context.name}",
            "--PushType http",
            f"--Endpoint {url_with_token(context)}",
            "--NotifyStrategy EXPONENTIAL_DECAY_RETRY",
            "--NotifyContentFormat XML",
        ),
    )
    yield terraform(
        Localized(
            "Or use Terraform, which also creates the rule of OSS",
            "或使用 Terraform（含 OSS 规则）",
        ),
        _terraform(context, topic),
    )
    yield note(
        Localized(
            "Without Terraform: OSS console > the bucket > Event Notification, events PutObject, "
            "PostObject, CopyObject, CompleteMultipartUpload, receiver: the topic. The rule takes "
            "effect after about ten minutes",
            "若不使用 Terraform：OSS 控制台 > 存储桶 > 事件通知，事件选择 PutObject、PostObject、"
            "CopyObject、CompleteMultipartUpload，接收终端为该主题。约十分钟后生效",
        )
    )
    if not topics:
        yield relay_toml(
            Localized("In relay.toml: the allowed sender", "写入 relay.toml：允许的发送方"),
            context,
            'accept = ["mns"]',
            f'mns_topics = ["ACCOUNT_ID/{topic}"]',
        )


def _terraform(context: SetupContext, topic: str) -> str:
    region = context.text("region", "cn-hangzhou").removeprefix("oss-")
    rules = []
    for bucket in context.buckets:
        key_filter = context.key_filter(bucket)
        rules.append(
            "[{ "
            f'name = "acs:oss:{region}:ACCOUNT_ID:{bucket}", match_state = "true", '
            f'prefix = "{key_filter.prefix}", suffix = "{key_filter.suffix}"'
            " }]"
        )
    topic_name = Expression("alicloud_message_service_topic.relay.topic_name")
    return join_blocks(
        secret_variable("hook_token"),
        resource("alicloud_message_service_topic", "relay", {"topic_name": topic}),
        resource(
            "alicloud_message_service_subscription",
            "relay",
            {
                "topic_name": topic_name,
                "subscription_name": context.name,
                "push_type": "http",
                "endpoint": Expression(f'"{context.url}?token=${{var.hook_token}}"'),
                "notify_strategy": "EXPONENTIAL_DECAY_RETRY",
                "notify_content_format": "XML",
            },
        ),
        resource(
            "alicloud_message_service_event_rule",
            "relay",
            {
                "rule_name": context.name,
                "event_types": list(CREATED),
                "match_rules": Expression(f"[{', '.join(rules)}]"),
                "endpoint": {"endpoint_type": "topic", "endpoint_value": topic_name},
            },
        ),
    )
