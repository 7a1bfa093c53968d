"""What to do at Huawei Cloud so that OBS tells Relay: by SMN, which signs, or by EventGrid.

Sources: SMN's and EventGrid's API references, the Terraform provider's event subscription.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Json, Localized
from relay.sources.setup.steps import (
    Filter,
    SetupContext,
    Step,
    as_json,
    call,
    command,
    quoted,
    terraform,
    words,
)
from relay.sources.setup.terraform import Expression, encoded, joined, resource, secret

CREATED = ("PUT", "POST", "COPY", "CompleteMultipartUpload")


def obs(door: SetupContext) -> Iterator[Step]:
    """By SMN where its topics are named, by EventGrid where only that is taken, else both ways."""
    named = bool(door.settings.smn_topic_urns)
    if door.takes("smn"):
        yield from _smn(door)
    if door.takes("eventgrid") and not named:
        yield from _eventgrid(door)
    yield words(
        Localized(
            "SMN tries six times more, then drops the message silently, and EventGrid drops too: "
            "set scan_every",
            "SMN 重试六次后静默丢弃，EventGrid 也会丢弃：请设置 scan_every",
        )
    )


def _smn(door: SetupContext) -> Iterator[Step]:
    urns = door.settings.smn_topic_urns
    urn = urns[0] if urns else f"urn:smn:{_region(door)}:PROJECT_ID:{door.name}"
    name = urn.rpartition(":")[2]
    yield command(
        Localized("By SMN: make the topic; the answer names its URN", "使用 SMN: 创建主题"),
        call(
            "hcloud SMN CreateTopic",
            f"--cli-region={_region(door)}",
            f"--name={quoted(name)}",
            f"--display_name={quoted(name)}",
        ),
    )
    if not urns:
        yield words(
            Localized(
                f"Put the URN into smn_topic_urns of [sources.{door.source}] and restart Relay: "
                "topics that are not named there are refused",
                f"将该 URN 写入 [sources.{door.source}] 的 smn_topic_urns 并重启 Relay",
            )
        )
    yield command(
        Localized(
            "Subscribe the hook while Relay runs and can be reached: it confirms by itself. SMN "
            "signs, so no token is needed",
            "在 Relay 运行且可访问时订阅：它会自动确认。SMN 自带签名，无需 token",
        ),
        call(
            "hcloud SMN AddSubscription",
            f"--cli-region={_region(door)}",
            f"--topic_urn={quoted(urn)}",
            f"--protocol={door.url.partition(':')[0]}",
            f"--endpoint={quoted(door.url)}",
        ),
    )
    yield terraform(
        Localized(
            "Both as Terraform, with leave for OBS to publish",
            "或使用 Terraform（含 OBS 发布权限）",
        ),
        joined(
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
                    "protocol": door.url.partition(":")[0],
                    "endpoint": door.url,
                },
            ),
        ),
    )
    for bucket in door.buckets:
        yield words(_console(bucket, urn, door.wanted(bucket)))


def _console(bucket: str, urn: str, wanted: Filter) -> Localized:
    filters = f"prefix {wanted.prefix or '(none)'}, suffix {wanted.suffix or '(none)'}"
    return Localized(
        f"In OBS Console, bucket {bucket}: Event Notification > Create; topic {urn}, event "
        f"ObjectCreated, {filters}. The topic's policy must let OBS publish",
        f"在 OBS 控制台的存储桶 {bucket} 中：事件通知 > 创建；主题 {urn}，事件 ObjectCreated，"
        f"{filters}。主题策略需允许 OBS 发布",
    )


def _eventgrid(door: SetupContext) -> Iterator[Step]:
    yield as_json(
        Localized(
            "By EventGrid: the subscription, on the default channel, for its API's POST "
            "/v1/PROJECT_ID/subscriptions. It does not sign: the token is in the address",
            "使用 EventGrid: 在 default 通道上的订阅（EventGrid API）。"
            "EventGrid 不签名：token 位于地址中",
        ),
        {
            "name": door.name,
            "channel_id": "CHANNEL_ID",
            "sources": [_grid_source(door, bucket) for bucket in door.buckets],
            "targets": [
                {
                    "name": "HTTPS",
                    "provider_type": "CUSTOM",
                    "detail": {"url": f"{door.url}?token={door.shown('token')}"},
                    "transform": {"type": "ORIGINAL"},
                }
            ],
        },
        "subscription.json",
    )
    yield terraform(Localized("As Terraform", "使用 Terraform"), _grid_terraform(door))
    yield words(
        Localized(
            "A token in an address should be of letters and digits only; give the target a "
            "dead-letter queue",
            "地址中的 token 应只含字母与数字；建议为目标配置死信队列",
        )
    )


def _grid_source(door: SetupContext, bucket: str) -> Json:
    return {
        "name": "HC.OBS.DWR",
        "provider_type": "OFFICIAL",
        "detail": {"bucket": bucket, "objectKeyEncode": True},
        "filter": _grid_filter(bucket, door.wanted(bucket)),
    }


def _grid_filter(bucket: str, wanted: Filter) -> Json:
    ends = {"StringStartsWith": wanted.prefix, "StringEndsWith": wanted.suffix}
    subject = [{"op": op, "values": [value]} for op, value in ends.items() if value]
    types = [f"OBS:DWR:ObjectCreated:{name}" for name in CREATED]
    made: Json = {
        "source": [{"op": "StringIn", "values": ["HC.OBS.DWR"]}],
        "type": [{"op": "StringIn", "values": types}],
        "data": {"obs": {"bucket": {"name": [{"op": "StringIn", "values": [bucket]}]}}},
    }
    return {**made, "subject": {"and": subject}} if subject else made


def _grid_terraform(door: SetupContext) -> str:
    sources = [
        {
            "name": "HC.OBS.DWR",
            "provider_type": "OFFICIAL",
            "detail": encoded({"bucket": bucket, "objectKeyEncode": True}),
            "filter_rule": encoded(_grid_filter(bucket, door.wanted(bucket))),
        }
        for bucket in door.buckets
    ]
    target = {
        "name": "HTTPS",
        "provider_type": "CUSTOM",
        "detail_name": "detail",
        "detail": Expression(f'jsonencode({{ url = "{door.url}?token=${{var.hook_token}}" }})'),
        "transform": encoded({"type": "ORIGINAL"}),
    }
    body = {
        "name": door.name,
        "channel_id": Expression("var.channel_id"),
        "sources": sources,
        "targets": target,
    }
    return joined(
        secret("hook_token"),
        'variable "channel_id" {\n  type = string\n}',
        resource("huaweicloud_eg_event_subscription", "relay", body),
    )


def _region(door: SetupContext) -> str:
    urns = door.settings.smn_topic_urns
    return urns[0].split(":")[2] if urns else door.text("region", "cn-north-4")
