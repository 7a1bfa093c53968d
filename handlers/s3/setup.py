"""Set-up of AWS S3 (SQS, SNS or EventBridge), and of other stores with the S3 API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from relay.handlers.s3.arns import (
    Arn,
    policy,
    queue_arn,
    queue_url,
    s3_to_topic,
    topic_arn,
    topic_to_queue,
)
from relay.handlers.s3.eventbridge import eventbridge_steps
from relay.handlers.s3.sqs import create_queue_steps, sqs_steps
from relay.model import Localized
from relay.sources.setup.bucket_rules import rule_steps, store_rule_steps
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    command,
    command_line,
    generic_steps,
    json_document,
    note,
    quote,
)

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
"""Retries for most of an hour, SNS's maximum. The default is 3 retries, 20 s apart."""


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """The steps for the configured transport; by default SQS, which loses the fewest events."""
    url = context.text("endpoint_url")
    accept_is_set = "accept" in context.settings.model_fields_set
    if url and "amazonaws.com" not in url:
        yield from _other_store_steps(context)
    elif context.accepts("sns") and context.settings.sns_topic_arns:
        yield from _sns_steps(context)
    elif accept_is_set and context.accepts("eventbridge"):
        yield from eventbridge_steps(context)
    else:
        if not context.has("sqs_queue_url"):
            yield note(_choose_transport(context))
        yield from sqs_steps(context)


def _other_store_steps(context: SetupContext) -> Iterator[Step]:
    yield from generic_steps(context)
    yield note(
        Localized(
            "If Relay has a kind for this store (such as minio, ceph or r2), use that kind: its "
            "instructions are exact. Otherwise the manual of the store explains how to get the "
            "ARN of a webhook: --arn ARN prints the rule for it, --apply installs the rule",
            "若 Relay 提供该存储的专用 kind（如 minio、ceph、r2），请使用它：其说明更准确。"
            "否则请查阅存储手册获取 webhook 的 ARN：--arn ARN 输出相应规则，--apply 直接写入",
        )
    )
    if context.arn:
        yield from store_rule_steps(context, context.arn)


def _choose_transport(context: SetupContext) -> Localized:
    url = queue_url(queue_arn(context))
    return Localized(
        "AWS S3 does not send HTTP requests: let it write to an SQS queue that Relay polls. Set "
        f'sqs_queue_url = "{url}" in [sources.{context.source}]. For SNS, set sns_topic_arns and '
        'add "sns" to accept; for EventBridge, add "eventbridge"',
        "AWS S3 不会直接发送 HTTP 请求：请让它写入由 Relay 拉取的 SQS 队列，并在 "
        f'[sources.{context.source}] 中设置 sqs_queue_url = "{url}"。若用 SNS，请设置 '
        'sns_topic_arns 并在 accept 中加入 "sns"；若用 EventBridge，请加入 "eventbridge"',
    )


def _sns_steps(context: SetupContext) -> Iterator[Step]:
    topic = topic_arn(context)
    yield command(
        Localized("Create the topic", "创建主题"),
        command_line("aws sns create-topic", topic.region_option, f"--name {topic.name}"),
    )
    yield json_document(
        Localized("The topic's policy: S3 may publish", "主题策略：允许 S3 发布"),
        policy(s3_to_topic(context.name, topic, context.buckets)),
        "topic-policy.json",
    )
    yield command(
        Localized("Install the policy", "写入策略"),
        command_line(
            "aws sns set-topic-attributes",
            topic.region_option,
            f"--topic-arn {topic}",
            "--attribute-name Policy",
            "--attribute-value file://topic-policy.json",
        ),
    )
    yield from rule_steps(context, str(topic), topic.region_option)
    attributes = json.dumps({"DeliveryPolicy": json.dumps(DELIVERY_POLICY)})
    yield command(
        Localized(
            "Subscribe the hook while Relay is running and reachable: Relay confirms the "
            "subscription. SNS signs its messages, so no token is needed; leave "
            "RawMessageDelivery off, because raw messages are not signed",
            "在 Relay 运行且可访问时订阅：它会自动确认。SNS 自带签名，无需 token；"
            "请勿开启 RawMessageDelivery，否则消息没有签名",
        ),
        _subscribe(
            topic,
            urlsplit(context.url).scheme,
            quote(context.url),
            f"--attributes {quote(attributes)}",
        ),
    )
    if context.has("sqs_queue_url"):
        queue = queue_arn(context)
        yield from create_queue_steps(queue, topic_to_queue(context.name, queue, topic))
        yield command(
            Localized("Subscribe the queue", "订阅队列"), _subscribe(topic, "sqs", str(queue))
        )


def _subscribe(topic: Arn, protocol: str, endpoint: str, *options: str) -> str:
    return command_line(
        "aws sns subscribe",
        topic.region_option,
        f"--topic-arn {topic}",
        f"--protocol {protocol}",
        f"--notification-endpoint {endpoint}",
        *options,
    )
