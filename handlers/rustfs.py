"""RustFS: records of the webhook, in MinIO's format, and rules of buckets.

Source of the set-up: RustFS's environment variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.model import Event, Localized
from relay.sources.s3.records import parse_events
from relay.sources.s3.settings import OwnStoreSettings, accept_field
from relay.sources.s3.storage import S3Storage
from relay.sources.setup.bucket_rules import rule_changes, store_rule_steps
from relay.sources.setup.steps import SetupChange, SetupContext, Step, command, quote

ARN = "arn:rustfs:sqs:{region}:relay:webhook"
"""RustFS puts the store's region into the ARN, and the target's name in lower case."""


class RustfsSettings(OwnStoreSettings):
    """RustFS sends a token; it does not sign."""

    accept: tuple[str, ...] = accept_field("signed", "bare")


class Handler(S3Storage):
    """S3 records with URL-encoded keys. Old releases send no eventSource."""

    Settings: ClassVar[type[SourceSettings]] = RustfsSettings

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a record about a complete object."""
        return parse_events(record, self.settings.key_encoding, "rustfs:s3")

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def changes(self, context: SetupContext) -> Iterator[SetupChange]:
        return rule_changes(context, self.client, webhook_arn(context))


def setup_steps(context: SetupContext) -> Iterator[Step]:
    yield command(
        Localized(
            "Set environment variables of RustFS; the folder must survive restarts. A private "
            "address also requires RUSTFS_OUTBOUND_ALLOW_ORIGINS",
            "设置 RustFS 的环境变量；目录需持久化。私有地址还需设置 RUSTFS_OUTBOUND_ALLOW_ORIGINS",
        ),
        "export RUSTFS_NOTIFY_ENABLE=true",
        "export RUSTFS_NOTIFY_WEBHOOK_ENABLE_RELAY=on",
        f"export RUSTFS_NOTIFY_WEBHOOK_ENDPOINT_RELAY={quote(context.url)}",
        f'export RUSTFS_NOTIFY_WEBHOOK_AUTH_TOKEN_RELAY="{context.reference("token")}"',
        "export RUSTFS_NOTIFY_WEBHOOK_QUEUE_DIR_RELAY=/logs/notify-relay",
    )
    yield from store_rule_steps(context, webhook_arn(context))


def webhook_arn(context: SetupContext) -> str:
    return context.arn or ARN.format(region=context.text("region", "us-east-1"))
