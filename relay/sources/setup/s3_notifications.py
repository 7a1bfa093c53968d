"""The documents that S3, SQS and SNS are set up with: rules, policies, and their merging. Pure.

Wire formats: Amazon S3 API (NotificationConfiguration), IAM policy documents of SQS and SNS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.model import Json
from relay.sources.setup.steps import Filter

CREATED = (
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
)
"""The events after which an object is complete; `s3:ObjectCreated:*` would bring others."""

QUEUES, TOPICS = ("QueueConfigurations", "QueueArn"), ("TopicConfigurations", "TopicArn")
"""Where a rule stands in the configuration, and the key of its destination."""

_ARN = re.compile(r"arn:([a-z-]+):(sqs|sns):([a-z0-9-]*):([0-9]*):([A-Za-z0-9_.:-]+)")
_QUEUE = re.compile(r"/([0-9]{12})/([A-Za-z0-9_.-]{1,80})")


@dataclass(frozen=True, slots=True)
class Arn:
    """The name of a queue or a topic, taken apart."""

    partition: str
    kind: str
    region: str
    account: str
    name: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.kind}:{self.region}:{self.account}:{self.name}"


def arn(text: str) -> Arn | None:
    """An ARN of SQS or SNS taken apart; None: it is none."""
    found = _ARN.fullmatch(text)
    return Arn(*found.groups()) if found else None


def queue_arn(path: str, region: str) -> Arn | None:
    """The ARN of the queue whose URL has this path, /ACCOUNT/NAME; None: it has another."""
    found = _QUEUE.fullmatch(path)
    return Arn(partition(region), "sqs", region, found[1], found[2]) if found else None


def partition(region: str) -> str:
    """Which of AWS's worlds a region belongs to."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def rule(name: str, key: str, destination: str, wanted: Filter) -> Json:
    """The notification rule of one bucket. `key`: QueueArn or TopicArn."""
    pairs = {"prefix": wanted.prefix, "suffix": wanted.suffix}
    filters = [{"Name": part, "Value": value} for part, value in pairs.items() if value]
    made: Json = {"Id": name, key: destination, "Events": list(CREATED)}
    return {**made, "Filter": {"Key": {"FilterRules": filters}}} if filters else made


def with_rule(current: Mapping[str, Any], place: str, new: Mapping[str, Any]) -> Json | None:
    """The configuration with our rule in it, everybody else's kept; None: nothing is missing.

    A rule that somebody else made and that tells the same destination of as much is enough: a
    second one would be refused, for two rules of one event must not overlap.
    """
    kept = {name: value for name, value in current.items() if name != "ResponseMetadata"}
    if any(_covers(one, new) for one in kept.get(place, ())):
        return None
    for name, rules in kept.items():
        if isinstance(rules, list):
            kept[name] = [one for one in rules if one.get("Id") != new["Id"]]
    kept[place] = [*kept.get(place, ()), dict(new)]
    return {name: value for name, value in kept.items() if value or name not in _LISTS}


_LISTS = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")


def _covers(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    if old.get("Id") == new["Id"] and _filter(old) != _filter(new):
        return False
    told, asked = _filter(old), _filter(new)
    return (
        all(old.get(key) == new[key] for key in ("QueueArn", "TopicArn") if key in new)
        and ("s3:ObjectCreated:*" in old["Events"] or set(old["Events"]) >= set(new["Events"]))
        and asked.prefix.startswith(told.prefix)
        and asked.suffix.endswith(told.suffix)
    )


def _filter(one: Mapping[str, Any]) -> Filter:
    rules = one.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    # Stores write Prefix and Suffix as well.
    found = {str(rule["Name"]).lower(): str(rule.get("Value", "")) for rule in rules}
    return Filter(found.get("prefix", ""), found.get("suffix", ""))


def queue_statement(name: str, queue: Arn, buckets: Sequence[str]) -> Json:
    """Lets S3 put the news of these buckets into the queue."""
    return _statement(name, "s3.amazonaws.com", "sqs:SendMessage", queue, buckets)


def topic_statement(name: str, topic: Arn, buckets: Sequence[str]) -> Json:
    """Lets S3 publish the news of these buckets to the topic."""
    return _statement(name, "s3.amazonaws.com", "sns:Publish", topic, buckets)


def forward_statement(name: str, queue: Arn, topic: Arn) -> Json:
    """Lets SNS put what is published to the topic into the queue."""
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": str(queue),
        "Condition": {"ArnEquals": {"aws:SourceArn": str(topic)}},
    }


def rule_statement(name: str, queue: Arn, rule_name: str) -> Json:
    """Lets an EventBridge rule put events into the queue."""
    where = f"arn:{queue.partition}:events:{queue.region}:{queue.account}:rule/{rule_name}"
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": str(queue),
        "Condition": {"ArnEquals": {"aws:SourceArn": where}},
    }


def policy(*statements: Json) -> Json:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def with_statement(current: Mapping[str, Any] | None, new: Json) -> Json | None:
    """The policy with our statement in it, everybody else's kept; None: it is there already."""
    held = (current or {}).get("Statement", [])
    statements = held if isinstance(held, list) else [held]
    if new in statements:
        return None
    others = [one for one in statements if one.get("Sid") != new["Sid"]]
    return {**(current or policy()), "Statement": [*others, new]}


def event_pattern(wanted: Mapping[str, Filter]) -> Json:
    """What an EventBridge rule lets through: complete objects of these buckets.

    One key condition for all: a prefix is left out when the buckets differ in it.
    """
    filters = set(wanted.values())
    alike = filters.pop() if len(filters) == 1 else Filter()
    detail: Json = {"bucket": {"name": list(wanted)}}
    if alike.suffix:
        detail["object"] = {"key": [{"suffix": alike.suffix}]}
    elif alike.prefix:
        detail["object"] = {"key": [{"prefix": alike.prefix}]}
    return {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}


def _statement(name: str, who: str, what: str, resource: Arn, buckets: Sequence[str]) -> Json:
    arns = [f"arn:{resource.partition}:s3:::{bucket}" for bucket in buckets]
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": who},
        "Action": what,
        "Resource": str(resource),
        # Bucket names can be taken by somebody else once they are free: the account counts too.
        "Condition": {
            "ArnLike": {"aws:SourceArn": arns},
            "StringEquals": {"aws:SourceAccount": resource.account},
        },
    }
