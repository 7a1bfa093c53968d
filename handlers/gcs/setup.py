"""Set-up of Google Cloud Storage: Pub/Sub notifications, pulled or pushed to the hook.

Sources: references of `gcloud storage` and `gcloud pubsub`, the google provider.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Json, Localized
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    note,
    quote,
    relay_toml,
    terraform,
)
from relay.sources.setup.terraform import Expression, join_blocks, resource


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """Pub/Sub, pulled if the source has a subscription, otherwise pushed to the hook."""
    topic = quote(context.name)
    yield command(
        Localized(
            "Send the notifications of the buckets to a topic (gcloud creates a missing topic; a "
            "second run sends every notification twice). Only prefix filters are supported",
            "将存储桶的通知发送到主题（不存在时自动创建；重复执行会重复通知）。只支持前缀过滤",
        ),
        *(
            command_line(
                f"gcloud storage buckets notifications create {quote(f'gs://{bucket}')}",
                f"--topic={topic}",
                "--event-types=OBJECT_FINALIZE",
                "--payload-format=json",
                *_prefix_option(context, bucket),
            )
            for bucket in context.buckets
        ),
    )
    yield from _pull_steps(context) if context.has("subscription") else _push_steps(context)
    yield note(
        Localized(
            "The service agent of Cloud Storage needs roles/pubsub.publisher on the topic: gcloud "
            "grants it, Terraform does not",
            "Cloud Storage 服务代理需对主题拥有 roles/pubsub.publisher：gcloud 会授予，"
            "Terraform 不会",
        )
    )


def _pull_steps(context: SetupContext) -> Iterator[Step]:
    name = context.text("subscription")
    yield command(
        Localized(
            "Create the subscription that Relay pulls from. Relay's account needs "
            "roles/pubsub.subscriber ($ACCOUNT: the e-mail address of the account)",
            "创建供 Relay 拉取的订阅。Relay 的账号需要 roles/pubsub.subscriber"
            "（$ACCOUNT 为账号邮箱）",
        ),
        command_line(
            f"gcloud pubsub subscriptions create {quote(name)}",
            f"--topic={quote(context.name)}",
            "--ack-deadline=60",
            "--message-retention-duration=7d",
            "--expiration-period=never",
        ),
        command_line(
            f"gcloud pubsub subscriptions add-iam-policy-binding {quote(name)}",
            '--member="serviceAccount:$ACCOUNT"',
            "--role=roles/pubsub.subscriber",
        ),
    )
    yield _terraform(context, {"name": name.rpartition("/")[2], "ack_deadline_seconds": 60})


def _push_steps(context: SetupContext) -> Iterator[Step]:
    account = context.settings.oidc_email or "relay-push@PROJECT_ID.iam.gserviceaccount.com"
    audience = context.settings.oidc_audience or context.url
    yield command(
        Localized(
            "Push to the hook, with a token of the service account, which Relay verifies. The "
            "service agent of Pub/Sub needs roles/iam.serviceAccountTokenCreator on that account",
            "推送到 hook，附带由 Relay 校验的服务账号令牌。Pub/Sub 服务代理需对该账号拥有 "
            "roles/iam.serviceAccountTokenCreator",
        ),
        command_line(
            f"gcloud pubsub subscriptions create {quote(context.name)}",
            f"--topic={quote(context.name)}",
            f"--push-endpoint={quote(context.url)}",
            f"--push-auth-service-account={quote(account)}",
            f"--push-auth-token-audience={quote(audience)}",
            "--ack-deadline=30",
            "--message-retention-duration=7d",
            "--expiration-period=never",
        ),
    )
    push = {
        "push_endpoint": context.url,
        "oidc_token": {"service_account_email": account, "audience": audience},
    }
    subscription = {"name": context.name, "ack_deadline_seconds": 30, "push_config": push}
    if not context.settings.oidc_email:
        yield relay_toml(
            Localized("In relay.toml: verify the token", "写入 relay.toml：校验令牌"),
            context,
            f'oidc_audience = "{audience}"',
            f'oidc_email = "{account}"',
        )
    yield _terraform(context, subscription)
    yield note(
        Localized(
            "If Google cannot reach Relay, set subscription: Relay then pulls. Eventarc with Cloud "
            'Run also works ("cloudevents" in accept)',
            "若 Google 无法访问 Relay，请设置 subscription 由 Relay 拉取。"
            '也可使用 Eventarc 与 Cloud Run（accept 含 "cloudevents"）',
        )
    )


def _prefix_option(context: SetupContext, bucket: str) -> tuple[str, ...]:
    prefix = context.key_filter(bucket).prefix
    return (f"--object-prefix={quote(prefix)}",) if prefix else ()


def _terraform(context: SetupContext, subscription: Json) -> Step:
    topic = Expression("google_pubsub_topic.relay.id")
    blocks = [resource("google_pubsub_topic", "relay", {"name": context.name})]
    for number, bucket in enumerate(context.buckets):
        prefix = context.key_filter(bucket).prefix
        body: Json = {
            "bucket": bucket,
            "topic": topic,
            "payload_format": "JSON_API_V1",
            "event_types": ["OBJECT_FINALIZE"],
            **({"object_name_prefix": prefix} if prefix else {}),
        }
        blocks.append(resource("google_storage_notification", f"relay_{number}", body))
    body = {
        **subscription,
        "topic": topic,
        "message_retention_duration": "604800s",
        "expiration_policy": {"ttl": ""},
    }
    blocks.append(resource("google_pubsub_subscription", "relay", body))
    return terraform(Localized("Or use Terraform", "或使用 Terraform"), join_blocks(*blocks))
