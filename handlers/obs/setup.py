"""What to do at Huawei Cloud so that OBS tells Relay: by SMN, which signs, or by EventGrid.

Sources: SMN's and EventGrid's API references, the Terraform provider's event subscription.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    terraform,
)
from relay.sources.setup.terraform import (
    Expression,
    join_blocks,
    jsonencode,
    resource,
    secret_variable,
)

CREATED = ("PUT", "POST", "COPY", "CompleteMultipartUpload")


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """By SMN where its topics are named, by EventGrid where only that is taken, else both ways."""
    named = bool(context.settings.smn_topic_urns)
    if context.accepts("smn"):
        yield from _smn(context)
    if context.accepts("eventgrid") and not named:
        yield from _eventgrid(context)
    yield note(
        Localized(
            "SMN tries six times more, then drops the message silently, and EventGrid drops too: "
            "set scan_every",
            "SMN 重试六次后静默丢弃，EventGrid 也会丢弃：请设置 scan_every",
        )
    )


def _smn(context: SetupContext) -> Iterator[Step]:
    urns = context.settings.smn_topic_urns
    urn = urns[0] if urns else f"urn:smn:{_region(context)}:PROJECT_ID:{context.name}"
    name = urn.rpartition(":")[2]
    yield command(
        Localized("By SMN: make the topic; the answer names its URN", "使用 SMN: 创建主题"),
        command_line(
            "hcloud SMN CreateTopic",
            f"--cli-region={_region(context)}",
            f"--name={quote(name)}",
            f"--display_name={quote(name)}",
        ),
    )
    if not urns:
        yield note(
            Localized(
                f"Put the URN into smn_topic_urns of [sources.{context.source}] and restart Relay: "
                "topics that are not named there are refused",
                f"将该 URN 写入 [sources.{context.source}] 的 smn_topic_urns 并重启 Relay",
            )
        )
    yield command(
        Localized(
            "Subscribe the hook while Relay runs and can be reached: it confirms by itself. SMN "
            "signs, so no token is needed",
            "在 Relay 运行且可访问时订阅：它会自动确认。SMN 自带签名，无需 token",
        ),
        command_line(
            "hcloud SMN AddSubscription",
            f"--cli-region={_region(context)}",
            f"--topic_urn={quote(urn)}",
            f"--protocol={context.url.partition(':')[0]}",
            f"--endpoint={quote(context.url)}",
        ),
    )
    yield terraform(
        Localized(
            "Both as Terraform, with leave for OBS to publish",
            "或使用 Terraform（含 OBS 发布权限）",
        ),
        join_blocks(
            resource(
                "huaweicloud_smn_topic",
                "relay",
                {"name": name, "services_publish_allowed": "obs"},
            ),
            resource(
                "huaweicloud_smn_subscription",
                "relay",
                {
                    "topic_urn": Expression("huaweicloud_smn_topic.relay.id"),
                    "protocol": context.url.partition(":")[0],
                    "endpoint": context.url,
                },
            ),
        ),
    )
    for bucket in context.buckets:
        yield note(_console(bucket, urn, context.key_filter(bucket)))


def _console(bucket: str, urn: str, wanted: KeyFilter) -> Localized:
    filters = f"prefix {wanted.prefix or '(none)'}, suffix {wanted.suffix or '(none)'}"
    return Localized(
        f"In OBS Console, bucket {bucket}: Event Notification > Create; topic {urn}, event "
        f"ObjectCreated, {filters}. The topic's policy must let OBS publish",
        f"在 OBS 控制台的存储桶 {bucket} 中：事件通知 > 创建；主题 {urn}，事件 ObjectCreated，"
        f"{filters}。主题策略需允许 OBS 发布",
    )


def _eventgrid(context: SetupContext) -> Iterator[Step]:
    yield json_document(
        Localized(
            "By EventGrid: the subscription, on the default channel, for its API's POST "
            "/v1/PROJECT_ID/subscriptions. It does not sign: the token is in the address",
            "使用 EventGrid: 在 default 通道上的订阅（EventGrid API）。"
            "EventGrid 不签名：token 位于地址中",
        ),
        {
            "name": context.name,
            "channel_id": "CHANNEL_ID",
            "sources": [_grid_source(context, bucket) for bucket in context.buckets],
            "targets": [
                {
                    "name": "HTTPS",
                    "provider_type": "CUSTOM",
                    "detail": {"url": f"{context.url}?token={context.reference('token')}"},
                    "transform": {"type": "ORIGINAL"},
                }
            ],
        },
        "subscription.json",
    )
    yield terraform(Localized("As Terraform", "使用 Terraform"), _grid_terraform(context))
    yield note(
        Localized(
            "A token in an address should be of letters and digits only; give the target a "
            "dead-letter queue",
            "地址中的 token 应只含字母与数字；建议为目标配置死信队列",
        )
    )


def _grid_source(context: SetupContext, bucket: str) -> Json:
    return {
        "name": "HC.OBS.DWR",
        "provider_type": "OFFICIAL",
        "detail": {"bucket": bucket, "objectKeyEncode": True},
        "filter": _grid_filter(bucket, context.key_filter(bucket)),
    }


def _grid_filter(bucket: str, wanted: KeyFilter) -> Json:
    ends = {"StringStartsWith": wanted.prefix, "StringEndsWith": wanted.suffix}
    subject = [{"op": op, "values": [value]} for op, value in ends.items() if value]
    types = [f"OBS:DWR:ObjectCreated:{name}" for name in CREATED]
    made: Json = {
        "source": [{"op": "StringIn", "values": ["HC.OBS.DWR"]}],
        "type": [{"op": "StringIn", "values": types}],
        "data": {"obs": {"bucket": {"name": [{"op": "StringIn", "values": [bucket]}]}}},
    }
    return {**made, "subject": {"and": subject}} if subject else made


def _grid_terraform(context: SetupContext) -> str:
    sources = [
        {
            "name": "HC.OBS.DWR",
            "provider_type": "OFFICIAL",
            "detail": jsonencode({"bucket": bucket, "objectKeyEncode": True}),
            "filter_rule": jsonencode(_grid_filter(bucket, context.key_filter(bucket))),
        }
        for bucket in context.buckets
    ]
    target = {
        "name": "HTTPS",
        "provider_type": "CUSTOM",
        "detail_name": "detail",
        "detail": Expression(f'jsonencode({{ url = "{context.url}?token=${{var.hook_token}}" }})'),
        "transform": jsonencode({"type": "ORIGINAL"}),
    }
    body = {
        "name": context.name,
        "channel_id": Expression("var.channel_id"),
        "sources": sources,
        "targets": target,
    }
    return join_blocks(
        secret_variable("hook_token"),
        'variable "channel_id" {\n  type = string\n}',
        resource("huaweicloud_eg_event_subscription", "relay", body),
    )


def _region(context: SetupContext) -> str:
    urns = context.settings.smn_topic_urns
    return urns[0].split(":")[2] if urns else context.text("region", "cn-north-4")
