"""Set-up of AWS S3 through an SQS queue, as AWS CLI commands and as Terraform."""

from __future__ import annotations

import json
from collections.abc import Iterator

from relay.handlers.s3.arns import Arn, policy, queue_arn, s3_to_queue
from relay.model import Json, Localized
from relay.sources.setup.bucket_rules import CREATED, rule_steps
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    json_document,
    terraform,
)
from relay.sources.setup.terraform import Expression, join_blocks, jsonencode, resource

FOURTEEN_DAYS = "1209600"
"""SQS's longest retention period."""


def sqs_steps(context: SetupContext) -> Iterator[Step]:
    queue = queue_arn(context)
    yield from create_queue_steps(queue, s3_to_queue(context.name, queue, context.buckets))
    yield from rule_steps(context, str(queue), queue.region_option)
    yield terraform(
        Localized(
            "Or use Terraform (an aws_s3_bucket_notification contains ALL rules of the bucket)",
            "或使用 Terraform（一个 aws_s3_bucket_notification 包含该存储桶的全部规则）",
        ),
        _terraform(context, queue),
    )


def create_queue_steps(queue: Arn, statement: Json) -> Iterator[Step]:
    yield json_document(
        Localized(
            "The queue: write permission, and 14 days of retention (if the bucket belongs to "
            "another account, change the account)",
            "队列：写入权限与 14 天保留期（若存储桶属于其他账号，请修改账号）",
        ),
        {"MessageRetentionPeriod": FOURTEEN_DAYS, "Policy": json.dumps(policy(statement))},
        "queue.json",
    )
    yield command(
        Localized("Create the queue", "创建队列"),
        command_line(
            "aws sqs create-queue",
            queue.region_option,
            f"--queue-name {queue.name}",
            "--attributes file://queue.json",
        ),
    )


def _terraform(context: SetupContext, queue: Arn) -> str:
    body = {
        "name": queue.name,
        "message_retention_seconds": int(FOURTEEN_DAYS),
        "policy": jsonencode(policy(s3_to_queue(context.name, queue, context.buckets))),
    }
    blocks = [resource("aws_sqs_queue", "relay", body)]
    for number, bucket in enumerate(context.buckets):
        pairs = context.key_filter(bucket).pairs().items()
        rule = {
            "queue_arn": Expression("aws_sqs_queue.relay.arn"),
            "events": list(CREATED),
            **{f"filter_{name}": value for name, value in pairs},
        }
        body = {"bucket": bucket, "queue": rule}
        blocks.append(resource("aws_s3_bucket_notification", f"relay_{number}", body))
    return join_blocks(*blocks)
