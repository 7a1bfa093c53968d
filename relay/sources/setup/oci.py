"""What to type at Oracle OCI and IBM COS.

Sources: references of the `oci` and `ibmcloud ce` command lines.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Localized
from relay.sources.setup.steps import (
    SetupContext,
    Step,
    as_json,
    call,
    command,
    filter_options,
    quoted,
    with_login,
)


def oci(door: SetupContext) -> Iterator[Step]:
    """Object events to a topic of Notifications, which posts to the hook."""
    names = [f"com.oraclecloud.objectstorage.{name}object" for name in ("create", "update")]
    condition = {
        "eventType": names,
        "data": {"additionalDetails": {"bucketName": list(door.buckets)}},
    }
    yield command(
        Localized(
            "Let the buckets tell of their objects, and make a topic ($COMPARTMENT: its OCID)",
            "开启存储桶的对象事件并创建主题（$COMPARTMENT 为区间 OCID）",
        ),
        *(
            call("oci os bucket update", f"--name {quoted(bucket)}", "--object-events-enabled true")
            for bucket in door.buckets
        ),
        call("oci ons topic create", '--compartment-id "$COMPARTMENT"', f"--name {door.name}"),
    )
    yield command(
        Localized(
            "Subscribe the hook while Relay runs and can be reached: it confirms by itself "
            "($TOPIC: topic-id in the answer before; a token of letters and digits)",
            "在 Relay 运行且可访问时订阅：它会自动确认 "
            "（$TOPIC 为前一输出中的 topic-id; token 只含字母与数字）",
        ),
        call(
            "oci ons subscription create",
            '--compartment-id "$COMPARTMENT"',
            '--topic-id "$TOPIC"',
            "--protocol CUSTOM_HTTPS",
            f"--subscription-endpoint {with_login(door)}",
        ),
    )
    yield as_json(Localized("Which events", "选择事件"), condition, "condition.json")
    yield as_json(
        Localized("Where they go: put the topic's OCID in", "发送目的地：填入主题 OCID"),
        {"actions": [{"actionType": "ONS", "isEnabled": True, "topicId": "TOPIC_OCID"}]},
        "actions.json",
    )
    yield command(
        Localized("Make the rule", "创建规则"),
        call(
            "oci events rule create",
            '--compartment-id "$COMPARTMENT"',
            f"--display-name {door.name}",
            "--is-enabled true",
            "--condition file://condition.json",
            "--actions file://actions.json",
        ),
    )


def ibm(door: SetupContext) -> Iterator[Step]:
    """A subscription of Code Engine: Relay must run there, as an application."""
    yield Step(
        Localized(
            "In relay.toml: the header that carries the token",
            "写入 relay.toml: 携带 token 的请求头",
        ),
        "toml",
        f'[sources.{door.source}]\ntoken_header = "ce-relaytoken"\n',
    )
    yield command(
        Localized(
            "Relay runs as the Code Engine application `relay`, in the bucket's region; Code "
            "Engine has the Notifications Manager role on the COS instance",
            "Relay 作为名为 relay 的 Code Engine 应用运行于同一区域；Code Engine 需拥有 COS 实例的 "
            "Notifications Manager 角色",
        ),
        *(
            call(
                "ibmcloud ce subscription cos create",
                f"--name {door.name}-{number}",
                "--destination-type app",
                "--destination relay",
                f"--path {quoted(door.path)}",
                f"--bucket {quoted(bucket)}",
                "--event-type write",
                f'--extension "relaytoken={door.shown("token")}"',
                *filter_options(door, bucket),
            )
            for number, bucket in enumerate(door.buckets)
        ),
    )
