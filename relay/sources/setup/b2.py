"""What to type at Backblaze B2 and Cloudflare R2.

Sources: references of the `b2` and `wrangler` command lines and of their Terraform providers.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Json, Localized
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    as_json,
    call,
    command,
    filter_options,
    quoted,
    terraform,
    words,
)
from relay.sources.setup.terraform import Expression, joined, resource, secret


def b2(door: SetupContext) -> Iterator[Step]:
    yield command(
        Localized(
            "A rule for each bucket; its secret must be 32 letters and digits. B2 keeps a bucket's "
            "other rules",
            "为每个存储桶创建规则；签名密钥须为 32 位字母与数字。已有规则会保留",
        ),
        *(
            call(
                "b2 bucket notification-rule create",
                f"--event-type {quoted('b2:ObjectCreated:*')}",
                f"--webhook-url {quoted(door.url)}",
                f'--sign-secret "{door.shown("secret")}"',
                f"--enable {quoted(f'b2://{bucket}/{door.wanted(bucket).prefix}')}",
                door.name,
            )
            for bucket in door.buckets
        ),
    )
    yield as_json(
        Localized(
            "The same for b2_set_bucket_notification_rules, which REPLACES the bucket's rules",
            "或使用 b2_set_bucket_notification_rules（会替换该存储桶的全部规则）",
        ),
        {"bucketId": "BUCKET_ID", "eventNotificationRules": [_b2_rule(door)]},
    )
    target = {
        "target_type": "webhook",
        "url": door.url,
        "hmac_sha256_signing_secret": Expression("var.hook_secret"),
    }
    rule = {
        "name": door.name,
        "event_types": ["b2:ObjectCreated:*"],
        "object_name_prefix": door.wanted(door.buckets[0]).prefix,
        "target_configuration": target,
    }
    body = {"bucket_id": Expression("var.bucket_id"), "notification_rules": rule}
    yield terraform(
        Localized(
            "As Terraform (it holds ALL rules of the bucket)", "使用 Terraform（包含全部规则）"
        ),
        joined(
            secret("hook_secret"),
            'variable "bucket_id" {\n  type = string\n}',
            resource("b2_bucket_notification_rules", "relay", body),
        ),
    )
    yield words(
        Localized(
            "B2 suspends a rule that fails for long (b2 bucket notification-rule list tells): set "
            "scan_every",
            "长时间失败的规则会被 B2 暂停：请设置 scan_every",
        )
    )


def _b2_rule(door: SetupContext) -> Json:
    return {
        "name": door.name,
        "isEnabled": True,
        "eventTypes": ["b2:ObjectCreated:*"],
        "objectNamePrefix": door.wanted(door.buckets[0]).prefix,
        "targetConfiguration": {
            "targetType": "webhook",
            "url": door.url,
            "hmacSha256SigningSecret": door.shown("secret"),
        },
    }


def r2(door: SetupContext) -> Iterator[Step]:
    """R2 posts to nobody: it fills a queue that is pulled over HTTP."""
    yield command(
        Localized(
            "A queue that can be pulled over HTTP, and the buckets that fill it. Rules of one "
            "bucket must not overlap",
            "可通过 HTTP 拉取的队列，以及写入它的存储桶。同一存储桶的规则不能重叠",
        ),
        f"npx wrangler queues create {door.name}",
        f"npx wrangler queues consumer http add {door.name}",
        *(
            call(
                f"npx wrangler r2 bucket notification create {quoted(bucket)}",
                "--event-type object-create",
                f"--queue {door.name}",
                *filter_options(door, bucket),
            )
            for bucket in door.buckets
        ),
    )
    account = Expression("var.account_id")
    queue = {"account_id": account, "queue_name": door.name}
    blocks = [
        'variable "account_id" {\n  type = string\n}',
        resource("cloudflare_queue", "relay", queue),
    ]
    for number, bucket in enumerate(door.buckets):
        wanted = door.wanted(bucket)
        rule = (
            '[{ actions = ["PutObject", "CopyObject", "CompleteMultipartUpload"], '
            f'prefix = "{wanted.prefix}", suffix = "{wanted.suffix}" }}]'
        )
        body = {
            "account_id": account,
            "bucket_name": bucket,
            "queue_id": Expression("cloudflare_queue.relay.queue_id"),
            "rules": Expression(rule),
        }
        blocks.append(resource("cloudflare_r2_bucket_event_notification", f"relay_{number}", body))
    yield terraform(Localized("As Terraform", "使用 Terraform"), joined(*blocks))
    if not door.has("queue_id"):
        yield Step(
            Localized(
                f"In relay.toml: the queue's id (npx wrangler queues info {door.name}), and an API "
                "token with Queues Read and Write",
                f"写入 relay.toml: 队列 id (npx wrangler queues info {door.name}) 与具有 Queues "
                "读写权限的 API token",
            ),
            "toml",
            f'[sources.{door.source}]\nqueue_id = "QUEUE_ID"\n'
            'queue_token = "${R2_QUEUE_TOKEN}"\n',
        )
