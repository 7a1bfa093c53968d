"""MinIO: records of the webhook, and rules of buckets.

Source of the set-up: docs of `mc admin config` and `mc event`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, Localized
from relay.sources.s3.records import parse_events
from relay.sources.s3.settings import OwnStoreSettings, accept_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.bucket_rules import rule_changes
from relay.sources.setup.steps import (
    SetupChange,
    SetupContext,
    Step,
    command,
    command_line,
    filter_options,
    note,
    quote,
)

ARN = "arn:minio:sqs::relay:webhook"


class MinioSettings(OwnStoreSettings):
    """MinIO sends a token; it does not sign."""

    accept: tuple[str, ...] = accept_field("signed", "bare")


class Handler(S3Storage):
    """S3 records with URL-encoded keys, `/` included; versions only in versioned buckets."""

    Settings: ClassVar[type[SourceSettings]] = MinioSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        return parse_events(record, self.settings.key_encoding, "minio:s3")

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def changes(self, context: SetupContext) -> Iterator[SetupChange]:
        return rule_changes(context, self.client, context.arn or ARN)


def setup_steps(context: SetupContext) -> Iterator[Step]:
    token = context.reference("token")
    yield command(
        Localized(
            "Add the hook to MinIO (ALIAS: the name given to `mc alias set`). Without queue_dir, "
            "MinIO loses events that it cannot send at once; the folder must survive restarts",
            "在 MinIO 中添加 hook（ALIAS 为 `mc alias set` 的别名）。没有 queue_dir 时，"
            "无法立即发送的事件会丢失；该目录需持久化",
        ),
        command_line(
            "mc admin config set ALIAS notify_webhook:relay",
            f"endpoint={quote(context.url)}",
            f'auth_token="{token}"',
            'queue_dir="/data/.relay-events"',
            'queue_limit="100000"',
        ),
        "mc admin service restart ALIAS",
    )
    yield command(
        Localized("Or set environment variables of MinIO", "或设置 MinIO 的环境变量"),
        "export MINIO_NOTIFY_WEBHOOK_ENABLE_relay=on",
        f"export MINIO_NOTIFY_WEBHOOK_ENDPOINT_relay={quote(context.url)}",
        f'export MINIO_NOTIFY_WEBHOOK_AUTH_TOKEN_relay="{token}"',
        "export MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_relay=/data/.relay-events",
        "export MINIO_NOTIFY_WEBHOOK_QUEUE_LIMIT_relay=100000",
    )
    yield command(
        Localized("Select the objects (or use --apply)", "选择要通知的对象（或使用 --apply）"),
        *(
            command_line(
                f"mc event add {quote(f'ALIAS/{bucket}')} {context.arn or ARN}",
                "--event put",
                *filter_options(context, bucket),
            )
            for bucket in context.buckets
        ),
    )
    yield note(
        Localized(
            "MinIO sends events one after the other: while Relay does not answer, all later "
            "events wait. Monitor queue_dir, and set scan_every",
            "MinIO 逐个发送事件：Relay 未响应时，后续事件都会等待。请监控 queue_dir 并设置 "
            "scan_every",
        )
    )
