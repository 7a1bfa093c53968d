"""Backblaze B2: signed event notifications, read by the S3 protocol.

Wire format: Backblaze, "Event Notifications Reference Guide". Sources of the set-up: references of
the `b2` command line and of the Terraform provider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, Localized, ObjectRef
from relay.sources.fields import count_or_none, epoch_or_none, text, text_or_none
from relay.sources.s3.records import raw_key, upload_identity
from relay.sources.s3.settings import CloudStoreSettings, accept_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    json_document,
    note,
    quote,
    terraform,
)
from relay.sources.setup.terraform import (
    Expression,
    join_blocks,
    resource,
    secret_variable,
    variable,
)

CREATED = frozenset(
    f"b2:ObjectCreated:{how}"
    for how in ("Upload", "MultipartUpload", "Copy", "Replica", "MultipartReplica")
)
"""Without b2:MultipartUploadCreated:*, the start of an upload."""


class B2Settings(CloudStoreSettings):
    """`secret` is the signing secret of the rule."""

    url_template: ClassVar[str] = "https://s3.{region}.backblazeb2.com"
    accept: tuple[str, ...] = accept_field("b2", "signed", "bare")


class Handler(S3Storage):
    """Files by version, which every B2 bucket keeps; the records contain raw names."""

    Settings: ClassVar[type[SourceSettings]] = B2Settings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete file."""
        type_ = text(record, "eventType")
        if type_ not in CREATED:
            return
        ref = ObjectRef(
            text(record, "bucketName"),
            raw_key(text(record, "objectName"), self.settings.key_encoding, "objectName"),
            version=text_or_none(record, "objectVersionId"),
            size=count_or_none(record, "objectSize"),
        )
        time = epoch_or_none(record, "eventTimestamp", per_second=1000)
        event = text_or_none(record, "eventId")
        identity = upload_identity(ref, time, upload=f"event:{event}" if event else None)
        yield Event(ref, identity, type_, time)

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)


def setup_steps(context: SetupContext) -> Iterator[Step]:
    prefix = context.key_filter(context.buckets[0]).prefix
    yield command(
        Localized(
            "Create a rule for each bucket; its secret must be 32 letters and digits. B2 keeps "
            "the other rules of the bucket",
            "为每个存储桶创建规则；签名密钥须为 32 位字母与数字。已有规则会保留",
        ),
        *(
            command_line(
                "b2 bucket notification-rule create",
                f"--event-type {quote('b2:ObjectCreated:*')}",
                f"--webhook-url {quote(context.url)}",
                f'--sign-secret "{context.reference("secret")}"',
                f"--enable {quote(f'b2://{bucket}/{context.key_filter(bucket).prefix}')}",
                context.name,
            )
            for bucket in context.buckets
        ),
    )
    rule = {
        "name": context.name,
        "isEnabled": True,
        "eventTypes": ["b2:ObjectCreated:*"],
        "objectNamePrefix": prefix,
        "targetConfiguration": {
            "targetType": "webhook",
            "url": context.url,
            "hmacSha256SigningSecret": context.reference("secret"),
        },
    }
    yield json_document(
        Localized(
            "Or call b2_set_bucket_notification_rules, which REPLACES the rules of the bucket",
            "或调用 b2_set_bucket_notification_rules（会替换该存储桶的全部规则）",
        ),
        {"bucketId": "BUCKET_ID", "eventNotificationRules": [rule]},
    )
    yield terraform(
        Localized(
            "Or use Terraform (the resource contains ALL rules of the bucket)",
            "或使用 Terraform（该资源包含存储桶的全部规则）",
        ),
        _terraform(context, prefix),
    )
    yield note(
        Localized(
            "B2 suspends a rule that keeps failing (see b2 bucket notification-rule list): set "
            "scan_every",
            "持续失败的规则会被 B2 暂停（见 b2 bucket notification-rule list）：请设置 scan_every",
        )
    )


def _terraform(context: SetupContext, prefix: str) -> str:
    rule = {
        "name": context.name,
        "event_types": ["b2:ObjectCreated:*"],
        "object_name_prefix": prefix,
        "target_configuration": {
            "target_type": "webhook",
            "url": context.url,
            "hmac_sha256_signing_secret": Expression("var.hook_secret"),
        },
    }
    body = {"bucket_id": Expression("var.bucket_id"), "notification_rules": rule}
    return join_blocks(
        secret_variable("hook_secret"),
        variable("bucket_id"),
        resource("b2_bucket_notification_rules", "relay", body),
    )
