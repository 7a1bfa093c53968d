"""Changes of `--apply` at AWS: the queue, the topic, subscriptions and the buckets' rules.

Each change reads the current state first, keeps foreign settings, and skips what is in place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from relay.errors import ConfigError
from relay.handlers.s3.arns import (
    Arn,
    configured_queue,
    merge_statement,
    parse_arn,
    s3_to_queue,
    s3_to_topic,
    topic_to_queue,
)
from relay.handlers.s3.setup import DELIVERY_POLICY
from relay.handlers.s3.sqs import FOURTEEN_DAYS
from relay.model import Json, Localized
from relay.sources.setup.bucket_rules import rule_changes
from relay.sources.setup.clients import SetupClients, none_if_missing, translate_errors
from relay.sources.setup.steps import SetupChange, SetupContext


def aws_changes(context: SetupContext, s3: Any) -> Iterator[SetupChange]:
    """S3 to SNS if the source accepts it, else to SQS, else to the ARN of `--arn`.

    Apply each change before asking for the next. ConfigError if the source names no destination.
    """
    with closing(SetupClients(context)) as clients:
        topic, queue = _topic(context), _queue(context)
        if topic:
            yield from _topic_changes(context, clients, topic, queue)
        elif queue:
            allowed = s3_to_queue(context.name, queue, context.buckets)
            yield from _queue_changes(context, clients, queue, allowed)
        elif not context.arn:
            raise ConfigError(
                f"sources.{context.source}",
                "names no destination for the notifications of the bucket",
                'Set sqs_queue_url (or sns_topic_arns, with "sns" in accept), or give --arn ARN.',
            )
        yield from rule_changes(context, s3, str(topic or queue or context.arn))


def _topic_changes(
    context: SetupContext, clients: SetupClients, topic: Arn, queue: Arn | None
) -> Iterator[SetupChange]:
    yield from _create_topic(context, clients, topic)
    if queue:
        allowed = topic_to_queue(context.name, queue, topic)
        yield from _queue_changes(context, clients, queue, allowed)
        yield _subscription(clients, topic, "sqs", str(queue))
    if context.public_url:
        yield _subscription(clients, topic, urlsplit(context.url).scheme, context.url)


def _queue_changes(
    context: SetupContext, clients: SetupClients, queue: Arn, statement: Json
) -> Iterator[SetupChange]:
    url = context.text("sqs_queue_url")

    def attributes() -> Mapping[str, Any] | None:
        return none_if_missing(
            lambda: clients.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        )

    def create() -> None:
        with translate_errors(queue.name):
            retention = {"MessageRetentionPeriod": FOURTEEN_DAYS}
            clients.sqs().create_queue(QueueName=queue.name, Attributes=retention)

    def set_policy(text: str) -> None:
        clients.sqs().set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})

    service = statement["Principal"]["Service"]
    yield SetupChange(
        Localized(
            f"queue {queue.name} exists, with 14 days of retention",
            f"队列 {queue.name} 存在，保留期 14 天",
        ),
        _exists(queue.name, attributes),
        create,
    )
    yield _policy_change(
        Localized(
            f"{service} may write to queue {queue.name}", f"{service} 可写入队列 {queue.name}"
        ),
        queue.name,
        statement,
        attributes,
        set_policy,
    )


def _create_topic(
    context: SetupContext, clients: SetupClients, topic: Arn
) -> Iterator[SetupChange]:
    sns = clients.sns(topic.region)

    def attributes() -> Mapping[str, Any] | None:
        return none_if_missing(lambda: sns.get_topic_attributes(TopicArn=str(topic)))

    def create() -> None:
        with translate_errors(topic.name):
            created = sns.create_topic(Name=topic.name)["TopicArn"]
        if created != str(topic):
            raise ConfigError(
                f"sources.{context.source}.sns_topic_arns",
                "names a topic of another account or region than the source's keys",
                f"The created topic is {created}.",
            )

    def set_policy(text: str) -> None:
        sns.set_topic_attributes(TopicArn=str(topic), AttributeName="Policy", AttributeValue=text)

    yield SetupChange(
        Localized(f"topic {topic.name} exists", f"主题 {topic.name} 存在"),
        _exists(topic.name, attributes),
        create,
    )
    yield _policy_change(
        Localized(f"S3 may publish to topic {topic.name}", f"S3 可发布到主题 {topic.name}"),
        topic.name,
        s3_to_topic(context.name, topic, context.buckets),
        attributes,
        set_policy,
    )


_ReadAttributes = Callable[[], Mapping[str, Any] | None]


def _exists(resource: str, attributes: _ReadAttributes) -> Callable[[], bool]:
    def exists() -> bool:
        with translate_errors(resource):
            return attributes() is not None

    return exists


def _policy_change(
    description: Localized,
    resource: str,
    statement: Json,
    attributes: _ReadAttributes,
    set_policy: Callable[[str], None],
) -> SetupChange:
    """Add a statement to the policy of a queue or a topic."""

    def missing() -> Json | None:
        with translate_errors(resource):
            current = attributes() or {}
        return merge_statement(_read_policy(current.get("Attributes", {})), statement)

    def apply() -> None:
        if (merged := missing()) is not None:
            with translate_errors(resource):
                set_policy(json.dumps(merged))

    return SetupChange(description, lambda: missing() is None, apply)


def _subscription(clients: SetupClients, topic: Arn, protocol: str, endpoint: str) -> SetupChange:
    sns = clients.sns(topic.region)

    def exists() -> bool:
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=str(topic))
        with translate_errors(topic.name):
            subscriptions = none_if_missing(
                lambda: [item for page in pages for item in page["Subscriptions"]]
            )
        wanted = (protocol, endpoint)
        return any((item["Protocol"], item["Endpoint"]) == wanted for item in subscriptions or ())

    def subscribe() -> None:
        retries = {} if protocol == "sqs" else {"DeliveryPolicy": json.dumps(DELIVERY_POLICY)}
        with translate_errors(topic.name):
            sns.subscribe(
                TopicArn=str(topic), Protocol=protocol, Endpoint=endpoint, Attributes=retries
            )

    description = Localized(
        f"topic {topic.name} sends to {endpoint}", f"主题 {topic.name} 发送到 {endpoint}"
    )
    return SetupChange(description, exists, subscribe)


def _topic(context: SetupContext) -> Arn | None:
    topics = context.settings.sns_topic_arns if context.accepts("sns") else ()
    if not topics:
        return None
    topic = parse_arn(topics[0])
    if topic is None or topic.service != "sns":
        raise ConfigError(
            f"sources.{context.source}.sns_topic_arns",
            "should begin with the ARN of a topic",
            "Such as arn:aws:sns:us-east-1:123456789012:exports.",
        )
    return topic


def _queue(context: SetupContext) -> Arn | None:
    if not urlsplit(context.text("sqs_queue_url")).path:
        return None
    queue = configured_queue(context)
    if queue is None:
        raise ConfigError(
            f"sources.{context.source}.sqs_queue_url",
            "should end in /ACCOUNT/NAME, with the account as 12 digits",
            "Such as https://sqs.us-east-1.amazonaws.com/123456789012/exports.",
        )
    return queue


def _read_policy(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    text = attributes.get("Policy")
    try:
        policy = json.loads(text) if text else None
    except ValueError:
        policy = None
    return policy if isinstance(policy, dict) else None
