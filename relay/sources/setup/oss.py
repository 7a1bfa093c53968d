"""What to type at Alibaba OSS and Tencent COS.

Sources: reference of SMQ's API 2022-01-19, the alicloud provider, SCF's COS triggers.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Localized
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    call,
    command,
    quoted,
    terraform,
    with_token,
    words,
)
from relay.sources.setup.terraform import Expression, joined, resource, secret

FORWARDER = """\
import json
import os
import urllib.request


def main_handler(event, context):
    request = urllib.request.Request(
        os.environ["HOOK_URL"],
        json.dumps(event).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": "Bearer " + os.environ["HOOK_TOKEN"],
        },
    )
    # Anything but 2xx raises, so that SCF tries again.
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status
"""


def oss(door: SetupContext) -> Iterator[Step]:
    """A topic of SMQ (once MNS), which signs, and a rule that OSS writes to it."""
    topic = door.settings.mns_topics[0].rpartition("/")[2] if door.settings.mns_topics else ""
    topic = topic or door.name
    yield command(
        Localized(
            "The topic, and the hook as its subscriber. SMQ signs, but some of its certificates "
            "prove too little: the token in the address is needed too (letters and digits only)",
            "主题与订阅。SMQ 自带签名，但部分证书强度不足：地址中仍需 token（只含字母与数字）",
        ),
        call("aliyun mns-open CreateTopic", f"--TopicName {quoted(topic)}"),
        call(
            "aliyun mns-open Subscribe",
            f"--TopicName {quoted(topic)}",
            f"--SubscriptionName {door.name}",
            "--PushType http",
            f"--Endpoint {with_token(door)}",
            "--NotifyStrategy EXPONENTIAL_DECAY_RETRY",
            "--NotifyContentFormat XML",
        ),
    )
    yield terraform(
        Localized(
            "All of it as Terraform, with the rule that OSS writes to it",
            "使用 Terraform（含 OSS 规则）",
        ),
        _oss_terraform(door, topic),
    )
    yield words(
        Localized(
            "Without Terraform: OSS console > the bucket > Event Notification, events PutObject, "
            "PostObject, CopyObject, CompleteMultipartUpload, receiver: the topic. It begins to "
            "work after about ten minutes",
            "若不使用 Terraform: OSS 控制台 > 存储桶 > 事件通知，事件选择 PutObject、PostObject、"
            "CopyObject、CompleteMultipartUpload，接收终端为该主题。约十分钟后生效",
        )
    )
    if not door.settings.mns_topics:
        yield Step(
            Localized("In relay.toml: who may send", "写入 relay.toml: 允许的发送方"),
            "toml",
            f'[sources.{door.source}]\naccept = ["mns"]\nmns_topics = ["ACCOUNT_ID/{topic}"]\n',
        )


def _oss_terraform(door: SetupContext, topic: str) -> str:
    events = ("PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload")
    region = door.text("region", "cn-hangzhou").removeprefix("oss-")
    rules = []
    for bucket in door.buckets:
        wanted = door.wanted(bucket)
        rules.append(
            "[{ "
            f'name = "acs:oss:{region}:ACCOUNT_ID:{bucket}", match_state = "true", '
            f'prefix = "{wanted.prefix}", suffix = "{wanted.suffix}"'
            " }]"
        )
    owner = Expression("alicloud_message_service_topic.relay.topic_name")
    return joined(
        secret("hook_token"),
        resource("alicloud_message_service_topic", "relay", {"topic_name": topic}),
        resource(
            "alicloud_message_service_subscription",
            "relay",
            {
                "topic_name": owner,
                "subscription_name": door.name,
                "push_type": "http",
                "endpoint": Expression(f'"{door.url}?token=${{var.hook_token}}"'),
                "notify_strategy": "EXPONENTIAL_DECAY_RETRY",
                "notify_content_format": "XML",
            },
        ),
        resource(
            "alicloud_message_service_event_rule",
            "relay",
            {
                "rule_name": door.name,
                "event_types": [f"ObjectCreated:{name}" for name in events],
                "match_rules": Expression(f"[{', '.join(rules)}]"),
                "endpoint": {"endpoint_type": "topic", "endpoint_value": owner},
            },
        ),
    )


def cos(door: SetupContext) -> Iterator[Step]:
    yield words(
        Localized(
            "COS cannot post to an address. Make an SCF function (Python 3.9 or newer) of the "
            f"following, with HOOK_URL={door.url} and HOOK_TOKEN={door.shown('token')} in its "
            "environment, and a COS trigger for each bucket: event cos:ObjectCreated:*"
            f"{_cos_filter(door)}",
            "COS 不能直接发送 HTTP 请求。请用以下代码创建 SCF 函数（Python 3.9 或更新），环境变量 "
            f"HOOK_URL={door.url}, HOOK_TOKEN={door.shown('token')}，并为每个存储桶添加 "
            f"COS 触发器：cos:ObjectCreated:*{_cos_filter(door)}",
        )
    )
    yield Step(Localized("The function", "函数代码"), "python", FORWARDER, "index.py")
    yield words(
        Localized(
            "SCF tries a failed call a few times only: set scan_every",
            "SCF 对失败的调用只重试几次：请设置 scan_every",
        )
    )


def _cos_filter(door: SetupContext) -> str:
    wanted = door.wanted(door.buckets[0])
    pairs = {"prefix": wanted.prefix, "suffix": wanted.suffix}
    return "".join(f", {name} {value}" for name, value in pairs.items() if value)
