"""The queue and the topic of an AWS source: which they are, and how a queue is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from relay.model import Json, Localized
from relay.sources.s3.client import region_of
from relay.sources.setup.s3_notifications import Arn, arn, partition, policy, queue_arn
from relay.sources.setup.steps import SetupContext, Step, as_json, call, command

SOME_REGION, SOME_ACCOUNT = "us-east-1", "123456789012"

FOURTEEN_DAYS = "1209600"
"""The longest that SQS keeps a message."""


def queue_of(door: SetupContext) -> Arn:
    """The source's queue, else one as it could be."""
    parts = urlsplit(door.text("sqs_queue_url"))
    region = region_of(parts.hostname or "") or door.text("region", SOME_REGION)
    return queue_arn(parts.path, region) or Arn(
        partition(region), "sqs", region, SOME_ACCOUNT, door.name
    )


def topic_of(door: SetupContext) -> Arn:
    """The source's first topic, else one as it could be."""
    topics = door.settings.sns_topic_arns
    known = arn(topics[0]) if topics else None
    region = door.text("region", SOME_REGION)
    return known or Arn(partition(region), "sns", region, SOME_ACCOUNT, door.name)


def queue_url(queue: Arn) -> str:
    end = "amazonaws.com.cn" if queue.partition == "aws-cn" else "amazonaws.com"
    return f"https://sqs.{queue.region}.{end}/{queue.account}/{queue.name}"


def make_queue(queue: Arn, *statements: Json) -> Iterator[Step]:
    yield as_json(
        Localized(
            "The queue: who may write to it, kept for 14 days (change the account if the bucket "
            "is of another one)",
            "队列：写入权限与 14 天保留期（若存储桶属于其他账号，请修改账号）",
        ),
        {
            "MessageRetentionPeriod": FOURTEEN_DAYS,
            "Policy": json.dumps(policy(*statements)),
        },
        "queue.json",
    )
    yield command(
        Localized("Make it", "创建队列"),
        call(
            "aws sqs create-queue",
            region_option(queue),
            f"--queue-name {queue.name}",
            "--attributes file://queue.json",
        ),
    )


def region_option(place: Arn) -> str:
    """The AWS CLI's option for where a queue or a topic is."""
    return f"--region {place.region}"
