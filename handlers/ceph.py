"""Ceph RGW: records of topics, bare or as CloudEvents, and the set-up of a topic.

Source of the set-up: Ceph documentation, "Bucket Notifications". RGW has an SNS API for topics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar
from urllib.parse import quote

from relay.config.load import SourceSettings
from relay.errors import ConfigError
from relay.model import Event, Localized
from relay.sources.s3.records import CEPH, parse_events
from relay.sources.s3.settings import OwnStoreSettings, accept_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.bucket_rules import rule_changes, store_options, store_rule_steps
from relay.sources.setup.clients import SetupClients, translate_errors
from relay.sources.setup.steps import (
    SetupChange,
    SetupContext,
    Step,
    command,
    command_line,
    json_document,
)

DEFAULT_ZONE_GROUP = "default"


class CephSettings(OwnStoreSettings):
    """RGW sends a user and a password; it does not sign."""

    accept: tuple[str, ...] = accept_field("cloudevents", "signed", "bare")


class Handler(S3Storage):
    """S3 records with unencoded keys, also from old releases that name aws:s3 as their source.

    Replication to another zone (`ObjectSynced`) is ignored: the zone of the upload announces it.
    """

    Settings: ClassVar[type[SourceSettings]] = CephSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        return parse_events(record, self.settings.key_encoding, CEPH)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def changes(self, context: SetupContext) -> Iterator[SetupChange]:
        return topic_changes(context, self.client, topic_arn(context))


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """A persistent topic that posts to the hook, and the buckets' rules."""
    token = context.reference("token")
    yield json_document(
        Localized(
            "The topic. `persistent` makes RGW keep and retry notifications; without it, RGW "
            f"loses what it cannot send at once. Replace {token} by the token; percent-encode "
            "all characters but letters and digits",
            "主题。persistent 表示保留并重试；否则无法立即发送的通知会丢失。请将 "
            f"{token} 替换为 token（字母与数字以外的字符需百分号编码）",
        ),
        topic_attributes(context, token),
        "topic.json",
    )
    yield command(
        Localized(
            "Create the topic; the output contains the ARN (use HTTPS: otherwise RGW rejects "
            "credentials in the endpoint)",
            "创建主题，输出中有其 ARN（必须使用 HTTPS，否则 RGW 不接受 endpoint 中的凭证）",
        ),
        command_line(
            "aws sns create-topic",
            *store_options(context, DEFAULT_ZONE_GROUP),
            f"--name {context.name}",
            "--attributes file://topic.json",
        ),
    )
    yield from store_rule_steps(context, topic_arn(context), DEFAULT_ZONE_GROUP)


def topic_changes(context: SetupContext, s3: Any, topic: str) -> Iterator[SetupChange]:
    """The topic, which posts to the hook, and the buckets' rules."""
    if not context.public_url:
        raise ConfigError("public_url", "is not set: Ceph needs an address to post to")
    with closing(SetupClients(context)) as clients:
        sns = clients.sns(context.text("region", DEFAULT_ZONE_GROUP))

        def exists() -> bool:
            pages = sns.get_paginator("list_topics").paginate()
            with translate_errors(topic):
                return any(item["TopicArn"] == topic for page in pages for item in page["Topics"])

        def create() -> None:
            attributes = topic_attributes(context, quote(context.secret("token"), safe=""))
            with translate_errors(topic):
                sns.create_topic(Name=topic.rpartition(":")[2], Attributes=attributes)

        description = Localized(
            f"topic {topic} exists (a new topic posts to {context.url})",
            f"主题 {topic} 存在（新建的主题发送到 {context.url}）",
        )
        yield SetupChange(description, exists, create)
        yield from rule_changes(context, s3, topic)


def topic_arn(context: SetupContext) -> str:
    """The topic's ARN. It contains the zone group, which `region` names."""
    zone_group = context.text("region", DEFAULT_ZONE_GROUP)
    return context.arn or f"arn:aws:sns:{zone_group}::{context.name}"


def topic_attributes(context: SetupContext, token: str) -> dict[str, str]:
    """The attributes of a topic that posts to the hook, with the token as the password."""
    scheme, _, rest = context.url.partition("://")
    return {
        "push-endpoint": f"{scheme}://relay:{token}@{rest}",
        "persistent": "true",
        "verify-ssl": "true",
    }
