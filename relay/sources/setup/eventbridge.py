"""What to type at AWS so that S3's events come through EventBridge."""

from __future__ import annotations

import json
from collections.abc import Iterator

from relay.model import Localized
from relay.sources.setup.queue import make_queue, queue_of
from relay.sources.setup.s3_notifications import event_pattern, rule_statement
from relay.sources.setup.steps import SetupContext, Step, as_json, call, command, quoted, words


def through_eventbridge(door: SetupContext, *, queue: bool) -> Iterator[Step]:
    region = queue_of(door).region
    pattern = event_pattern({bucket: door.wanted(bucket) for bucket in door.buckets})
    for bucket in door.buckets:
        config = json.dumps({"EventBridgeConfiguration": {}})
        yield command(
            Localized(
                f"Have {bucket} tell EventBridge. This REPLACES its rules: add those it has",
                f"让 {bucket} 通知 EventBridge。此命令会替换其全部规则：请加入已有规则",
            ),
            call(
                "aws s3api put-bucket-notification-configuration",
                f"--region {region}",
                f"--bucket {quoted(bucket)}",
                f"--notification-configuration {quoted(config)}",
            ),
        )
    yield as_json(Localized("Which events", "选择事件"), pattern, "pattern.json")
    yield command(
        Localized("Make the rule", "创建规则"),
        call(
            "aws events put-rule",
            f"--region {region}",
            f"--name {door.name}",
            "--event-pattern file://pattern.json",
        ),
    )
    yield from _to_queue(door) if queue else _to_hook(door, region)


def _to_queue(door: SetupContext) -> Iterator[Step]:
    queue = queue_of(door)
    yield from make_queue(queue, rule_statement(door.name, queue, door.name))
    yield command(
        Localized("Send them to the queue", "发送到队列"),
        call(
            "aws events put-targets",
            f"--region {queue.region}",
            f"--rule {door.name}",
            f"--targets {quoted(f'Id=relay,Arn={queue}')}",
        ),
    )


def _to_hook(door: SetupContext, region: str) -> Iterator[Step]:
    login = f'"BasicAuthParameters={{Username=relay,Password={door.shown("token")}}}"'
    yield command(
        Localized(
            "Send them to the hook, with the token as password", "发送到 hook，以 token 为密码"
        ),
        call(
            "aws events create-connection",
            f"--region {region}",
            f"--name {door.name}",
            "--authorization-type BASIC",
            f"--auth-parameters {login}",
        ),
        call(
            "aws events create-api-destination",
            f"--region {region}",
            f"--name {door.name}",
            '--connection-arn "$CONNECTION_ARN"',
            "--http-method POST",
            f"--invocation-endpoint {quoted(door.url)}",
        ),
        call(
            "aws events put-targets",
            f"--region {region}",
            f"--rule {door.name}",
            '--targets "Id=relay,Arn=$API_DESTINATION_ARN,RoleArn=$ROLE_ARN"',
        ),
    )
    yield words(
        Localized(
            "$CONNECTION_ARN and $API_DESTINATION_ARN are in the answers of the commands before; "
            "$ROLE_ARN is a role that events.amazonaws.com may assume and that may "
            "events:InvokeApiDestination on the destination. EventBridge drops what is answered "
            "4xx: give the target a dead-letter queue",
            "$CONNECTION_ARN 与 $API_DESTINATION_ARN 见前面命令的输出；$ROLE_ARN 是允许 "
            "events.amazonaws.com 担任、并有 events:InvokeApiDestination 权限的角色。"
            "EventBridge 会丢弃得到 4xx 的事件：请为目标配置死信队列",
        )
    )
