"""Set-up of AWS S3 through EventBridge: to the source's queue or to the hook."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from relay.handlers.s3.arns import eventbridge_to_queue, queue_arn
from relay.handlers.s3.sqs import create_queue_steps
from relay.model import Json, Localized
from relay.sources.setup.steps import (
    KeyFilter,
    SetupContext,
    Step,
    command,
    command_line,
    json_document,
    note,
    quote,
)


def eventbridge_steps(context: SetupContext) -> Iterator[Step]:
    region = queue_arn(context).region_option
    configuration = json.dumps({"EventBridgeConfiguration": {}})
    for bucket in context.buckets:
        yield command(
            Localized(
                f"Enable EventBridge for {bucket}. This REPLACES the rules of the bucket: add the "
                "existing rules",
                f"为 {bucket} 启用 EventBridge。此命令会替换其全部规则：请加入已有规则",
            ),
            command_line(
                "aws s3api put-bucket-notification-configuration",
                region,
                f"--bucket {quote(bucket)}",
                f"--notification-configuration {quote(configuration)}",
            ),
        )
    pattern = event_pattern({bucket: context.key_filter(bucket) for bucket in context.buckets})
    yield json_document(Localized("Select the events", "选择事件"), pattern, "pattern.json")
    yield command(
        Localized("Create the rule", "创建规则"),
        command_line(
            "aws events put-rule",
            region,
            f"--name {context.name}",
            "--event-pattern file://pattern.json",
        ),
    )
    has_queue = context.has("sqs_queue_url")
    yield from _queue_steps(context) if has_queue else _hook_steps(context, region)


def event_pattern(filters: Mapping[str, KeyFilter]) -> Json:
    """An EventBridge pattern that matches complete objects of these buckets.

    A pattern has a single key condition, so the filter is omitted if the buckets differ in it.
    """
    distinct = set(filters.values())
    key_filter = distinct.pop() if len(distinct) == 1 else KeyFilter()
    detail: Json = {"bucket": {"name": list(filters)}}
    if key_filter.suffix:
        detail["object"] = {"key": [{"suffix": key_filter.suffix}]}
    elif key_filter.prefix:
        detail["object"] = {"key": [{"prefix": key_filter.prefix}]}
    return {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}


def _queue_steps(context: SetupContext) -> Iterator[Step]:
    queue = queue_arn(context)
    yield from create_queue_steps(queue, eventbridge_to_queue(context.name, queue))
    yield command(
        Localized("Send the events to the queue", "将事件发送到队列"),
        command_line(
            "aws events put-targets",
            queue.region_option,
            f"--rule {context.name}",
            f"--targets {quote(f'Id=relay,Arn={queue}')}",
        ),
    )


def _hook_steps(context: SetupContext, region: str) -> Iterator[Step]:
    login = f'"BasicAuthParameters={{Username=relay,Password={context.reference("token")}}}"'
    yield command(
        Localized(
            "Send the events to the hook, with the token as the password",
            "将事件发送到 hook，以 token 为密码",
        ),
        command_line(
            "aws events create-connection",
            region,
            f"--name {context.name}",
            "--authorization-type BASIC",
            f"--auth-parameters {login}",
        ),
        command_line(
            "aws events create-api-destination",
            region,
            f"--name {context.name}",
            '--connection-arn "$CONNECTION_ARN"',
            "--http-method POST",
            f"--invocation-endpoint {quote(context.url)}",
        ),
        command_line(
            "aws events put-targets",
            region,
            f"--rule {context.name}",
            '--targets "Id=relay,Arn=$API_DESTINATION_ARN,RoleArn=$ROLE_ARN"',
        ),
    )
    yield note(
        Localized(
            "The output of the previous commands contains $CONNECTION_ARN and "
            "$API_DESTINATION_ARN. $ROLE_ARN is a role that events.amazonaws.com may assume, with "
            "the permission events:InvokeApiDestination on the destination. EventBridge drops "
            "events that are answered with 4xx: configure a dead-letter queue for the target",
            "$CONNECTION_ARN 与 $API_DESTINATION_ARN 见前面命令的输出；$ROLE_ARN 是允许 "
            "events.amazonaws.com 担任、并有 events:InvokeApiDestination 权限的角色。"
            "EventBridge 会丢弃收到 4xx 响应的事件：请为目标配置死信队列",
        )
    )
