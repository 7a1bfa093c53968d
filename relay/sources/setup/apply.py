"""What `--apply` does: buckets, queues and topics that speak AWS's protocols tell this source.

Everything is looked at first; what is there of others is kept, and what is so already is left.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import quote, urlsplit

from relay.errors import ConfigError
from relay.model import Json, Localized
from relay.sources.s3.client import region_of
from relay.sources.setup.aws import DELIVERY_POLICY
from relay.sources.setup.clients import Clients, or_none, told_of
from relay.sources.setup.queue import FOURTEEN_DAYS
from relay.sources.setup.s3_notifications import (
    QUEUES,
    TOPICS,
    Arn,
    arn,
    forward_statement,
    queue_arn,
    queue_statement,
    rule,
    topic_statement,
    with_rule,
    with_statement,
)
from relay.sources.setup.s3_stores import ceph_attributes
from relay.sources.setup.steps import SetupChange, SetupContext


def s3_changes(door: SetupContext, s3: Any) -> Iterator[SetupChange]:
    """S3 to SNS where the source takes it, else to SQS, else to the ARN that was given.

    As every one of these: each change is to be used before the next is asked for. Raises
    ConfigError when the source does not say enough.
    """
    with closing(Clients(door, s3)) as clients:
        topic, queue = _topic(door), _queue(door)
        if topic:
            yield from _through_topic(door, clients, topic, queue)
        elif queue:
            allowed = queue_statement(door.name, queue, door.buckets)
            yield from _make_queue(clients, queue, allowed)
            yield from _rules(door, clients, str(queue))
        elif door.arn:
            yield from _rules(door, clients, door.arn)
        else:
            raise ConfigError(
                f"sources.{door.source}",
                "does not say where its bucket is to tell of new objects",
                'Set sqs_queue_url (or sns_topic_arns, with "sns" in accept), or give --arn ARN.',
            )


def rule_changes(door: SetupContext, s3: Any, destination: str) -> Iterator[SetupChange]:
    """The buckets' rules to a destination that the store has already."""
    with closing(Clients(door, s3)) as clients:
        yield from _rules(door, clients, destination)


def ceph_changes(door: SetupContext, s3: Any, topic: str) -> Iterator[SetupChange]:
    """A topic of RGW's that posts to the hook, and the rules that lead to it."""
    if not door.public_url:
        raise ConfigError("public_url", "is not set: Ceph must know where to post to")
    with closing(Clients(door, s3)) as clients:
        sns = clients.sns(door.text("region", "default"))

        def is_there() -> bool:
            pages = sns.get_paginator("list_topics").paginate()
            with told_of(topic):
                return any(one["TopicArn"] == topic for page in pages for one in page["Topics"])

        def make() -> None:
            attributes = ceph_attributes(door, quote(door.secret("token"), safe=""))
            with told_of(topic):
                sns.create_topic(Name=topic.rpartition(":")[2], Attributes=attributes)

        words = Localized(
            f"topic {topic} is there (a new one posts to {door.url})",
            f"主题 {topic}（新建时发送到 {door.url}）",
        )
        yield SetupChange(words, is_there, make)
        yield from _rules(door, clients, topic)


def _through_topic(
    door: SetupContext, clients: Clients, topic: Arn, queue: Arn | None
) -> Iterator[SetupChange]:
    yield from _make_topic(door, clients, topic)
    if queue:
        yield from _make_queue(clients, queue, forward_statement(door.name, queue, topic))
        yield _subscribed(clients, topic, "sqs", str(queue))
    if door.public_url:
        yield _subscribed(clients, topic, urlsplit(door.url).scheme, door.url)
    yield from _rules(door, clients, str(topic))


def _rules(door: SetupContext, clients: Clients, destination: str) -> Iterator[SetupChange]:
    if not door.settings.buckets:
        raise ConfigError(
            f"sources.{door.source}.buckets",
            "is not set: which buckets are to tell of new objects?",
            'Name them, such as buckets = ["exports"].',
        )
    group, key = TOPICS if ":sns:" in destination else QUEUES
    for bucket in door.buckets:
        wanted = door.wanted(bucket)
        new = rule(door.name, key, destination, wanted)
        shown = f"{wanted.prefix}*{wanted.suffix}"
        yield SetupChange(
            Localized(
                f"bucket {bucket} tells {destination} of {shown}",
                f"存储桶 {bucket} 就 {shown} 通知 {destination}",
            ),
            *_rule_of(clients, bucket, group, new),
        )


def _rule_of(
    clients: Clients, bucket: str, group: str, new: Json
) -> tuple[Callable[[], bool], Callable[[], None]]:
    def missing() -> Json | None:
        with told_of(bucket):
            held = clients.s3.get_bucket_notification_configuration(Bucket=bucket)
        return with_rule(held, group, new)

    def make() -> None:
        if (merged := missing()) is not None:
            with told_of(bucket):
                clients.s3.put_bucket_notification_configuration(
                    Bucket=bucket, NotificationConfiguration=merged
                )

    return lambda: missing() is None, make


def _make_queue(clients: Clients, queue: Arn, statement: Json) -> Iterator[SetupChange]:
    url = clients.door.text("sqs_queue_url")
    kept = {"MessageRetentionPeriod": FOURTEEN_DAYS}

    def held() -> Mapping[str, Any] | None:
        with told_of(queue.name):
            return or_none(
                lambda: clients.sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
            )

    def make() -> None:
        with told_of(queue.name):
            clients.sqs().create_queue(QueueName=queue.name, Attributes=kept)

    def missing() -> Json | None:
        return with_statement(_policy((held() or {}).get("Attributes", {})), statement)

    def allow() -> None:
        if (merged := missing()) is not None:
            with told_of(queue.name):
                text = json.dumps(merged)
                clients.sqs().set_queue_attributes(QueueUrl=url, Attributes={"Policy": text})

    there = Localized(f"queue {queue.name} is there, kept for 14 days", f"队列 {queue.name}")
    yield SetupChange(there, lambda: held() is not None, make)
    who = statement["Principal"]["Service"]
    allowed = Localized(f"{who} may write to queue {queue.name}", f"{who} 可写入队列 {queue.name}")
    yield SetupChange(allowed, lambda: missing() is None, allow)


def _make_topic(door: SetupContext, clients: Clients, topic: Arn) -> Iterator[SetupChange]:
    sns = clients.sns(topic.region)
    statement = topic_statement(door.name, topic, door.buckets)

    def held() -> Mapping[str, Any] | None:
        with told_of(topic.name):
            return or_none(lambda: sns.get_topic_attributes(TopicArn=str(topic)))

    def make() -> None:
        with told_of(topic.name):
            made = sns.create_topic(Name=topic.name)["TopicArn"]
        if made != str(topic):
            raise ConfigError(
                f"sources.{door.source}.sns_topic_arns",
                "names a topic of another account or region than these keys make topics in",
                f"The topic that was made is {made}.",
            )

    def missing() -> Json | None:
        return with_statement(_policy((held() or {}).get("Attributes", {})), statement)

    def allow() -> None:
        if (merged := missing()) is not None:
            with told_of(topic.name):
                sns.set_topic_attributes(
                    TopicArn=str(topic), AttributeName="Policy", AttributeValue=json.dumps(merged)
                )

    yield SetupChange(
        Localized(f"topic {topic.name} is there", f"主题 {topic.name}"),
        lambda: held() is not None,
        make,
    )
    yield SetupChange(
        Localized(f"S3 may publish to topic {topic.name}", f"S3 可发布到主题 {topic.name}"),
        lambda: missing() is None,
        allow,
    )


def _subscribed(clients: Clients, topic: Arn, protocol: str, endpoint: str) -> SetupChange:
    sns = clients.sns(topic.region)

    def is_there() -> bool:
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=str(topic))
        with told_of(topic.name):
            found = or_none(lambda: [one for page in pages for one in page["Subscriptions"]])
        return any(
            (one["Protocol"], one["Endpoint"]) == (protocol, endpoint) for one in found or ()
        )

    def make() -> None:
        patient = {} if protocol == "sqs" else {"DeliveryPolicy": json.dumps(DELIVERY_POLICY)}
        with told_of(topic.name):
            sns.subscribe(
                TopicArn=str(topic), Protocol=protocol, Endpoint=endpoint, Attributes=patient
            )

    words = Localized(
        f"topic {topic.name} sends to {endpoint}", f"主题 {topic.name} 发送到 {endpoint}"
    )
    return SetupChange(words, is_there, make)


def _topic(door: SetupContext) -> Arn | None:
    topics = door.settings.sns_topic_arns if door.takes("sns") else ()
    if not topics:
        return None
    known = arn(topics[0])
    if known is None or known.kind != "sns":
        raise ConfigError(
            f"sources.{door.source}.sns_topic_arns",
            "should begin with the ARN of a topic",
            "Such as arn:aws:sns:us-east-1:123456789012:exports.",
        )
    return known


def _queue(door: SetupContext) -> Arn | None:
    parts = urlsplit(door.text("sqs_queue_url"))
    if not parts.path:
        return None
    region = region_of(parts.hostname or "") or door.text("region", "us-east-1")
    known = queue_arn(parts.path, region)
    if known is None:
        raise ConfigError(
            f"sources.{door.source}.sqs_queue_url",
            "should end in /ACCOUNT/NAME, the account in 12 digits",
            "Such as https://sqs.us-east-1.amazonaws.com/123456789012/exports.",
        )
    return known


def _policy(attributes: Mapping[str, Any]) -> Mapping[str, Any] | None:
    text = attributes.get("Policy")
    try:
        held = json.loads(text) if text else None
    except ValueError:
        held = None
    return held if isinstance(held, dict) else None
