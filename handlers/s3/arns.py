"""The ARNs of an AWS source's queue and topic, and the policies that let AWS write to them.

Wire formats: IAM policy documents of SQS and SNS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from relay.model import Json
from relay.sources.s3.client import region_of_host
from relay.sources.setup.steps import SetupContext

DEFAULT_REGION = "us-east-1"
PLACEHOLDER_ACCOUNT = "123456789012"

_ARN = re.compile(r"arn:([a-z-]+):(sqs|sns):([a-z0-9-]*):([0-9]*):([A-Za-z0-9_.:-]+)")
_QUEUE_PATH = re.compile(r"/([0-9]{12})/([A-Za-z0-9_.-]{1,80})")


@dataclass(frozen=True, slots=True)
class Arn:
    """The parsed ARN of a queue or a topic."""

    partition: str
    service: str
    region: str
    account: str
    name: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.name}"

    @property
    def region_option(self) -> str:
        """The AWS CLI's option for the region."""
        return f"--region {self.region}"


def parse_arn(text: str) -> Arn | None:
    """Parse an ARN of SQS or SNS; None if it is not valid."""
    match = _ARN.fullmatch(text)
    return Arn(*match.groups()) if match else None


def configured_queue(context: SetupContext) -> Arn | None:
    """The queue of `sqs_queue_url`; None if the URL does not end in /ACCOUNT/NAME."""
    parts = urlsplit(context.text("sqs_queue_url"))
    match = _QUEUE_PATH.fullmatch(parts.path)
    region = region_of_host(parts.hostname or "") or context.text("region", DEFAULT_REGION)
    return Arn(partition(region), "sqs", region, match[1], match[2]) if match else None


def queue_arn(context: SetupContext) -> Arn:
    """The source's queue; without a valid `sqs_queue_url`, a suggestion."""
    return configured_queue(context) or _suggested(context, "sqs")


def topic_arn(context: SetupContext) -> Arn:
    """The source's first topic; without a valid topic, a suggestion."""
    topics = context.settings.sns_topic_arns
    return (parse_arn(topics[0]) if topics else None) or _suggested(context, "sns")


def _suggested(context: SetupContext, service: str) -> Arn:
    host = urlsplit(context.text("sqs_queue_url")).hostname if service == "sqs" else None
    region = region_of_host(host or "") or context.text("region", DEFAULT_REGION)
    return Arn(partition(region), service, region, PLACEHOLDER_ACCOUNT, context.name)


def partition(region: str) -> str:
    """The AWS partition of a region."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def queue_url(queue: Arn) -> str:
    domain = "amazonaws.com.cn" if queue.partition == "aws-cn" else "amazonaws.com"
    return f"https://sqs.{queue.region}.{domain}/{queue.account}/{queue.name}"


def s3_to_queue(name: str, queue: Arn, buckets: Sequence[str]) -> Json:
    """Allow S3 to send the notifications of these buckets to the queue."""
    return _from_s3(name, "sqs:SendMessage", queue, buckets)


def s3_to_topic(name: str, topic: Arn, buckets: Sequence[str]) -> Json:
    """Allow S3 to publish the notifications of these buckets to the topic."""
    return _from_s3(name, "sns:Publish", topic, buckets)


def topic_to_queue(name: str, queue: Arn, topic: Arn) -> Json:
    """Allow SNS to forward messages of the topic to the queue."""
    return _to_queue(name, queue, "sns.amazonaws.com", str(topic))


def eventbridge_to_queue(name: str, queue: Arn) -> Json:
    """Allow the EventBridge rule `name` to send events to the queue."""
    source = f"arn:{queue.partition}:events:{queue.region}:{queue.account}:rule/{name}"
    return _to_queue(name, queue, "events.amazonaws.com", source)


def policy(*statements: Json) -> Json:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def merge_statement(current: Mapping[str, Any] | None, new: Json) -> Json | None:
    """Add our statement to a policy, keeping foreign ones; None if it is present already."""
    existing = (current or {}).get("Statement", [])
    statements = existing if isinstance(existing, list) else [existing]
    if new in statements:
        return None
    others = [statement for statement in statements if statement.get("Sid") != new["Sid"]]
    return {**(current or policy()), "Statement": [*others, new]}


def _to_queue(name: str, queue: Arn, service: str, source: str) -> Json:
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": str(queue),
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }


def _from_s3(name: str, action: str, resource: Arn, buckets: Sequence[str]) -> Json:
    arns = [f"arn:{resource.partition}:s3:::{bucket}" for bucket in buckets]
    return {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": action,
        "Resource": str(resource),
        # Another account can take the name of a deleted bucket, so the account is checked too.
        "Condition": {
            "ArnLike": {"aws:SourceArn": arns},
            "StringEquals": {"aws:SourceAccount": resource.account},
        },
    }
