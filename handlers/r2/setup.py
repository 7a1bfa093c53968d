"""Set-up of Cloudflare R2: a queue that R2 fills and Relay polls.

Sources: references of the `wrangler` command line and of the Cloudflare Terraform provider.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Localized
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    filter_options,
    quote,
    relay_toml,
    terraform,
)
from relay.sources.setup.terraform import Expression, join_blocks, resource, variable


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """R2 does not send HTTP requests, so Relay polls a queue."""
    yield command(
        Localized(
            "Create a queue with an HTTP pull consumer, and notification rules of the buckets. "
            "Rules of one bucket must not overlap",
            "创建可通过 HTTP 拉取的队列，以及各存储桶的通知规则。同一存储桶的规则不能重叠",
        ),
        f"npx wrangler queues create {context.name}",
        f"npx wrangler queues consumer http add {context.name}",
        *(
            command_line(
                f"npx wrangler r2 bucket notification create {quote(bucket)}",
                "--event-type object-create",
                f"--queue {context.name}",
                *filter_options(context, bucket),
            )
            for bucket in context.buckets
        ),
    )
    yield terraform(Localized("Or use Terraform", "或使用 Terraform"), _terraform(context))
    if not context.has("queue_id"):
        yield relay_toml(
            Localized(
                f"In relay.toml: the queue's id (npx wrangler queues info {context.name}), and an "
                "API token with the permissions Queues Read and Write",
                f"写入 relay.toml：队列 id（npx wrangler queues info {context.name}）与具有 "
                "Queues 读写权限的 API token",
            ),
            context,
            'queue_id = "QUEUE_ID"',
            'queue_token = "${R2_QUEUE_TOKEN}"',
        )


def _terraform(context: SetupContext) -> str:
    account = Expression("var.account_id")
    queue = {"account_id": account, "queue_name": context.name}
    blocks = [variable("account_id"), resource("cloudflare_queue", "relay", queue)]
    for number, bucket in enumerate(context.buckets):
        key_filter = context.key_filter(bucket)
        rule = (
            '[{ actions = ["PutObject", "CopyObject", "CompleteMultipartUpload"], '
            f'prefix = "{key_filter.prefix}", suffix = "{key_filter.suffix}" }}]'
        )
        body = {
            "account_id": account,
            "bucket_name": bucket,
            "queue_id": Expression("cloudflare_queue.relay.queue_id"),
            "rules": Expression(rule),
        }
        blocks.append(resource("cloudflare_r2_bucket_event_notification", f"relay_{number}", body))
    return join_blocks(*blocks)
