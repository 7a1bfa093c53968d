"""Set-up of Huawei Cloud OBS through SMN, which signs, or through EventGrid.

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
    variable,
)

CREATED = ("PUT", "POST", "COPY", "CompleteMultipartUpload")


def setup_steps(context: SetupContext) -> Iterator[Step]:
    """SMN if topics are configured, EventGrid if only that is accepted, otherwise both."""
    has_topics = bool(context.settings.smn_topic_urns)
    if context.accepts("smn"):
        yield from _smn_steps(context)
    if context.accepts("eventgrid") and not has_topics:
        yield from _eventgrid_steps(context)
    yield note(
        Localized(
            "SMN drops a message silently after six retries, and EventGrid also drops events: set "
            "scan_every",
            "SMN 重试六次后静默丢弃消息，EventGrid 也会丢弃事件：请设置 scan_every",
        )
    )


def _smn_steps(context: SetupContext) -> Iterator[Step]:
    urns = context.settings.smn_topic_urns
    urn = urns[0] if urns else f"urn:smn:{_region(context)}:PROJECT_ID:{context.name}"
    name = urn.rpartition(":")[2]
    yield command(
        Localized(
            "SMN: create the topic; the output contains the URN", "SMN：创建主题，输出中有其 URN"
        ),
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
                f"Add the URN to smn_topic_urns of [sources.{context.source}] and restart Relay, "
                "which rejects other topics",
                f"将该 URN 写入 [sources.{context.source}] 的 smn_topic_urns 并重启 Relay："
                "其他主题会被拒绝",
            )
        )
    yield command(
        Localized(
            "Subscribe the hook while Relay is running and reachable: Relay confirms the "
            "subscription. SMN signs its messages, so no token is needed",
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
            "Or use Terraform, with the permission for OBS to publish",
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
        yield note(_console_step(bucket, urn, context.key_filter(bucket)))


def _console_step(bucket: str, urn: str, key_filter: KeyFilter) -> Localized:
    filters = f"prefix {key_filter.prefix or '(none)'}, suffix {key_filter.suffix or '(none)'}"
    return Localized(
        f"In OBS Console, bucket {bucket}: Event Notification > Create; topic {urn}, event "
        f"ObjectCreated, {filters}. The topic's policy must let OBS publish",
        f"在 OBS 控制台的存储桶 {bucket} 中：事件通知 > 创建；主题 {urn}，事件 ObjectCreated，"
        f"{filters}。主题策略需允许 OBS 发布",
    )


def _eventgrid_steps(context: SetupContext) -> Iterator[Step]:
    yield json_document(
        Localized(
            "EventGrid: the subscription on the default channel, for POST "
            "/v1/PROJECT_ID/subscriptions of the API. EventGrid does not sign: the token is in "
            "the address",
            "EventGrid：在 default 通道上的订阅，用于 API POST /v1/PROJECT_ID/subscriptions。"
            "EventGrid 不签名：token 位于地址中",
        ),
        {
            "name": context.name,
            "channel_id": "CHANNEL_ID",
            "sources": [_eventgrid_source(context, bucket) for bucket in context.buckets],
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
    yield terraform(
        Localized("Or use Terraform", "或使用 Terraform"), _eventgrid_terraform(context)
    )
    yield note(
        Localized(
            "Use only letters and digits for a token in an address; configure a dead-letter queue "
            "for the target",
            "地址中的 token 应只含字母与数字；请为目标配置死信队列",
        )
    )


def _eventgrid_source(context: SetupContext, bucket: str) -> Json:
    return {
        "name": "HC.OBS.DWR",
        "provider_type": "OFFICIAL",
        "detail": {"bucket": bucket, "objectKeyEncode": True},
        "filter": _eventgrid_filter(bucket, context.key_filter(bucket)),
    }


def _eventgrid_filter(bucket: str, key_filter: KeyFilter) -> Json:
    ends = {"StringStartsWith": key_filter.prefix, "StringEndsWith": key_filter.suffix}
    subject = [{"op": op, "values": [value]} for op, value in ends.items() if value]
    types = [f"OBS:DWR:ObjectCreated:{name}" for name in CREATED]
    made: Json = {
        "source": [{"op": "StringIn", "values": ["HC.OBS.DWR"]}],
        "type": [{"op": "StringIn", "values": types}],
        "data": {"obs": {"bucket": {"name": [{"op": "StringIn", "values": [bucket]}]}}},
    }
    return {**made, "subject": {"and": subject}} if subject else made


def _eventgrid_terraform(context: SetupContext) -> str:
    sources = [
        {
            "name": "HC.OBS.DWR",
            "provider_type": "OFFICIAL",
            "detail": jsonencode({"bucket": bucket, "objectKeyEncode": True}),
            "filter_rule": jsonencode(_eventgrid_filter(bucket, context.key_filter(bucket))),
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
        variable("channel_id"),
        resource("huaweicloud_eg_event_subscription", "relay", body),
    )


def _region(context: SetupContext) -> str:
    urns = context.settings.smn_topic_urns
    return urns[0].split(":")[2] if urns else context.text("region", "cn-north-4")
