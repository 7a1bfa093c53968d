"""What to type at AWS: S3 to SQS, to SNS, to EventBridge."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from relay.model import Json, Localized
from relay.sources.setup.eventbridge import through_eventbridge
from relay.sources.setup.queue import (
    FOURTEEN_DAYS,
    make_queue,
    queue_of,
    queue_url,
    region_option,
    topic_of,
)
from relay.sources.setup.s3_notifications import (
    CREATED,
    QUEUES,
    TOPICS,
    Arn,
    forward_statement,
    policy,
    queue_statement,
    rule,
    topic_statement,
)
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    as_json,
    call,
    command,
    quoted,
    terraform,
    words,
)
from relay.sources.setup.terraform import Expression, encoded, joined, resource

DELIVERY_POLICY = {
    "healthyRetryPolicy": {
        "minDelayTarget": 20,
        "maxDelayTarget": 60,
        "numRetries": 50,
        "numMinDelayRetries": 3,
        "numMaxDelayRetries": 47,
        "backoffFunction": "linear",
    }
}
"""SNS gives up after 3 retries, 20 s apart, if it is not told otherwise. This is most of an hour,
which is as long as it ever tries."""


def steps(door: SetupContext) -> Iterator[Step]:
    """The road that the source is configured for; without any, the one that loses least."""
    queue = door.has("sqs_queue_url")
    asked = "accept" in door.settings.model_fields_set and door.takes("eventbridge")
    if door.takes("sns") and door.settings.sns_topic_arns:
        yield from _topic(door, forward=queue)
    elif asked:
        yield from through_eventbridge(door, queue=queue)
    else:
        if not queue:
            yield words(_no_road(door))
        yield from _queue(door)


def _no_road(door: SetupContext) -> Localized:
    url = queue_url(queue_of(door))
    return Localized(
        "AWS S3 posts to nobody itself: let it write to an SQS queue that Relay pulls. Put "
        f'sqs_queue_url = "{url}" into [sources.{door.source}]. For SNS instead, put '
        'sns_topic_arns there and "sns" into accept; for EventBridge, "eventbridge"',
        "AWS S3 不会直接发送 HTTP 请求：请让它写入由 Relay 拉取的 SQS 队列，并在 "
        f'[sources.{door.source}] 中设置 sqs_queue_url = "{url}"。若用 SNS，请设置 sns_topic_arns '
        '并在 accept 中加入 "sns"；若用 EventBridge，请加入 "eventbridge"',
    )


def notification(door: SetupContext, bucket: str, destination: str, place: tuple[str, str]) -> Json:
    """The whole configuration of a bucket that has no other rules."""
    group, key = place
    return {group: [rule(door.name, key, destination, door.wanted(bucket))]}


def put_notifications(
    door: SetupContext, destination: str, place: tuple[str, str], *more: str
) -> Iterator[Step]:
    """The rules of every bucket, and the commands that put them there. `more`: options."""
    for bucket in door.buckets:
        file = f"notification-{bucket}.json"
        yield as_json(
            Localized(f"What bucket {bucket} tells", f"存储桶 {bucket} 的通知配置"),
            notification(door, bucket, destination, place),
            file,
        )
        yield command(
            Localized(
                "Put it there. This REPLACES the bucket's rules: add those that it has to the file "
                "first (or let --apply do it, which keeps them)",
                "写入配置。此命令会替换该存储桶的全部规则：请先把已有规则加入文件，或使用 --apply",
            ),
            call(
                "aws s3api get-bucket-notification-configuration",
                *more,
                f"--bucket {quoted(bucket)}",
            ),
            call(
                "aws s3api put-bucket-notification-configuration",
                *more,
                f"--bucket {quoted(bucket)}",
                f"--notification-configuration {quoted(f'file://{file}')}",
            ),
        )


def _queue(door: SetupContext) -> Iterator[Step]:
    queue = queue_of(door)
    yield from make_queue(queue, queue_statement(door.name, queue, door.buckets))
    yield from put_notifications(door, str(queue), QUEUES, region_option(queue))
    yield _terraform(door, queue)


def _topic(door: SetupContext, *, forward: bool) -> Iterator[Step]:
    topic = topic_of(door)
    yield command(
        Localized("Make the topic", "创建主题"),
        call("aws sns create-topic", region_option(topic), f"--name {topic.name}"),
    )
    yield as_json(
        Localized("Who may publish to it", "谁可以发布到该主题"),
        policy(topic_statement(door.name, topic, door.buckets)),
        "topic-policy.json",
    )
    yield command(
        Localized("Let S3 publish to it", "允许 S3 发布"),
        call(
            "aws sns set-topic-attributes",
            region_option(topic),
            f"--topic-arn {topic}",
            "--attribute-name Policy",
            "--attribute-value file://topic-policy.json",
        ),
    )
    yield from put_notifications(door, str(topic), TOPICS, region_option(topic))
    yield from _subscriptions(door, topic, forward=forward)


def _subscriptions(door: SetupContext, topic: Arn, *, forward: bool) -> Iterator[Step]:
    attributes = json.dumps({"DeliveryPolicy": json.dumps(DELIVERY_POLICY)})
    yield command(
        Localized(
            "Subscribe the hook, while Relay runs and can be reached: it confirms by itself. SNS "
            "signs, so no token is needed; leave RawMessageDelivery off, which would not be signed",
            "在 Relay 运行且可访问时订阅：它会自动确认。SNS 自带签名，无需 token；"
            "请勿开启 RawMessageDelivery",
        ),
        call(
            "aws sns subscribe",
            region_option(topic),
            f"--topic-arn {topic}",
            f"--protocol {urlsplit(door.url).scheme}",
            f"--notification-endpoint {quoted(door.url)}",
            f"--attributes {quoted(attributes)}",
        ),
    )
    if forward:
        queue = queue_of(door)
        yield from make_queue(queue, forward_statement(door.name, queue, topic))
        yield command(
            Localized("Subscribe the queue", "订阅队列"),
            call(
                "aws sns subscribe",
                region_option(topic),
                f"--topic-arn {topic}",
                "--protocol sqs",
                f"--notification-endpoint {queue}",
            ),
        )


def _terraform(door: SetupContext, queue: Arn) -> Step:
    held = policy(queue_statement(door.name, queue, door.buckets))
    blocks = [
        resource(
            "aws_sqs_queue",
            "relay",
            {
                "name": queue.name,
                "message_retention_seconds": int(FOURTEEN_DAYS),
                "policy": encoded(held),
            },
        )
    ]
    for number, bucket in enumerate(door.buckets):
        wanted = door.wanted(bucket)
        told = {
            "queue_arn": Expression("aws_sqs_queue.relay.arn"),
            "events": list(CREATED),
            "filter_prefix": wanted.prefix,
            "filter_suffix": wanted.suffix,
        }
        queues = {key: value for key, value in told.items() if value}
        name = f"relay_{number}"
        blocks.append(
            resource("aws_s3_bucket_notification", name, {"bucket": bucket, "queue": queues})
        )
    title = Localized(
        "Or as Terraform (one aws_s3_bucket_notification holds ALL rules of its bucket)",
        "或使用 Terraform（一个 aws_s3_bucket_notification 包含该存储桶的全部规则）",
    )
    return terraform(title, joined(*blocks))
