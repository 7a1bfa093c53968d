"""Notification rules of S3 buckets: the document, the commands and the change that install it.

Wire format: Amazon S3 API, NotificationConfiguration.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.errors import ConfigError
from relay.model import Json, Localized
from relay.sources.setup.clients import translate_errors
from relay.sources.setup.steps import (
    KeyFilter,
    SetupChange,
    SetupContext,
    Step,
    command,
    command_line,
    json_document,
    quote,
)

CREATED = (
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
)
"""The events after which an object is complete; `s3:ObjectCreated:*` also matches others."""

_LISTS = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")


def rule_group(destination: str) -> tuple[str, str]:
    """The list that holds rules for this ARN, and the key of the ARN in a rule."""
    if ":sns:" in destination:
        return "TopicConfigurations", "TopicArn"
    return "QueueConfigurations", "QueueArn"


def rule(name: str, destination: str, key_filter: KeyFilter) -> Json:
    """The notification rule of a bucket."""
    _, key = rule_group(destination)
    made: Json = {"Id": name, key: destination, "Events": list(CREATED)}
    filters = [{"Name": part, "Value": value} for part, value in key_filter.pairs().items()]
    return {**made, "Filter": {"Key": {"FilterRules": filters}}} if filters else made


def merge_rule(current: Mapping[str, Any], group: str, new: Mapping[str, Any]) -> Json | None:
    """Add our rule to a configuration; None if the configuration already covers it.

    Foreign rules are kept. A foreign rule with the same destination that matches at least the same
    objects is enough: stores reject two overlapping rules for an event.
    """
    merged = {name: value for name, value in current.items() if name != "ResponseMetadata"}
    if any(_covers(existing, new) for existing in merged.get(group, ())):
        return None
    for name, rules in merged.items():
        if isinstance(rules, list):
            merged[name] = [existing for existing in rules if existing.get("Id") != new["Id"]]
    merged[group] = [*merged.get(group, ()), dict(new)]
    return {name: value for name, value in merged.items() if value or name not in _LISTS}


def _covers(existing: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    present, wanted = _filter_of(existing), _filter_of(new)
    if existing.get("Id") == new["Id"] and present != wanted:
        return False
    events = set(existing["Events"])
    return (
        all(existing.get(key) == new[key] for key in ("QueueArn", "TopicArn") if key in new)
        and ("s3:ObjectCreated:*" in events or events >= set(new["Events"]))
        and wanted.prefix.startswith(present.prefix)
        and wanted.suffix.endswith(present.suffix)
    )


def _filter_of(existing: Mapping[str, Any]) -> KeyFilter:
    rules = existing.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    # Some stores capitalize the names: Prefix, Suffix.
    values = {str(item["Name"]).lower(): str(item.get("Value", "")) for item in rules}
    return KeyFilter(values.get("prefix", ""), values.get("suffix", ""))


def rule_steps(context: SetupContext, destination: str, *options: str) -> Iterator[Step]:
    """The rules of every bucket and the AWS CLI commands (with `options`) that install them."""
    group, _ = rule_group(destination)
    for bucket in context.buckets:
        file = f"notification-{bucket}.json"
        target = f"--bucket {quote(bucket)}"
        yield json_document(
            Localized(
                f"The notification configuration of bucket {bucket}", f"存储桶 {bucket} 的通知配置"
            ),
            {group: [rule(context.name, destination, context.key_filter(bucket))]},
            file,
        )
        yield command(
            Localized(
                "Install the configuration. This REPLACES the rules of the bucket: add the "
                "existing rules to the file first, or use --apply, which keeps them",
                "写入配置。此命令会替换该存储桶的全部规则：请先把已有规则加入文件，"
                "或使用 --apply（会保留已有规则）",
            ),
            command_line("aws s3api get-bucket-notification-configuration", *options, target),
            command_line(
                "aws s3api put-bucket-notification-configuration",
                *options,
                target,
                f"--notification-configuration {quote(f'file://{file}')}",
            ),
        )


def store_rule_steps(
    context: SetupContext, destination: str, default_region: str = "us-east-1"
) -> Iterator[Step]:
    """The same for a store with an `endpoint_url`."""
    yield from rule_steps(context, destination, *store_options(context, default_region))


def store_options(context: SetupContext, default_region: str) -> tuple[str, ...]:
    """The AWS CLI's options for the address and the region of a store."""
    url = context.text("endpoint_url")
    region = f"--region {context.text('region', default_region)}"
    return (f"--endpoint-url {quote(url)}", region) if url else (region,)


def rule_changes(context: SetupContext, s3: Any, destination: str) -> Iterator[SetupChange]:
    """Add the rules of every bucket. ConfigError if the source names no buckets."""
    if not context.settings.buckets:
        raise ConfigError(
            f"sources.{context.source}.buckets",
            "is not set: the buckets to configure are unknown",
            'Name them, such as buckets = ["exports"].',
        )
    for bucket in context.buckets:
        yield _rule_change(context, s3, bucket, destination)


def _rule_change(context: SetupContext, s3: Any, bucket: str, destination: str) -> SetupChange:
    key_filter = context.key_filter(bucket)
    new = rule(context.name, destination, key_filter)
    pattern = f"{key_filter.prefix}*{key_filter.suffix}"

    def missing() -> Json | None:
        with translate_errors(bucket):
            current = s3.get_bucket_notification_configuration(Bucket=bucket)
        return merge_rule(current, rule_group(destination)[0], new)

    def apply() -> None:
        if (merged := missing()) is not None:
            with translate_errors(bucket):
                s3.put_bucket_notification_configuration(
                    Bucket=bucket, NotificationConfiguration=merged
                )

    description = Localized(
        f"bucket {bucket} sends notifications for {pattern} to {destination}",
        f"存储桶 {bucket} 将 {pattern} 的通知发送到 {destination}",
    )
    return SetupChange(description, lambda: missing() is None, apply)
