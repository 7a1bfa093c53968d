"""Sample messages of each type for the tests of channels, optionally with hostile text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from relay.channels.contract import Message
from relay.channels.messages import digest_body, message_body
from relay.model import (
    Claim,
    Delivery,
    Event,
    Failed,
    Kind,
    Localized,
    ObjectRef,
    Outcome,
    Problem,
    Skipped,
    State,
    Succeeded,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

HOSTILE = (
    "<!here> <!channel|x> @channel @everyone &lt; <https://evil.example|click> "
    "*b* _i_ ~s~ `c` :tada: [a](https://evil.example) **b**\r\n# h\x00\x1b[31m\u202egpj.exe\u2066 "
)
"""Markup, mentions, links, control characters and marks that change the text direction."""

PROBLEM = Problem(
    "archive.truncated",
    Localized("The end of the archive is missing", "压缩包的末尾缺失"),
    Localized("Upload it again.", "请重新上传。"),
)

OUTCOMES: Mapping[str, Outcome] = {
    "import.succeeded": Succeeded(
        {
            "how": "created",
            "func_urn": "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest",
            "func_name": "orders",
            "package": "default",
            "digest": "9b71d224bd62f378",
            "runtime": "Python3.10",
            "size": 1_500_000,
        }
    ),
    "import.failed": Failed(PROBLEM),
    "import.skipped": Skipped("unchanged"),
}


def message(
    type_: str,
    *,
    outcome: Outcome | None = None,
    key: str = "prod/orders.zip",
    func_name: str = "orders",
) -> Message:
    """Return a message about an import, like the worker creates it."""
    ref = ObjectRef("exports", key, version="v7", size=1_500_000)
    delivery = Delivery(
        id="01kq3v0m5n6p7q8r9s0t1v2w3x",
        kind=Kind.IMPORT,
        state=State.RUNNING,
        source="exports",
        route="exports",
        bucket=ref.bucket,
        key=ref.key,
        version=ref.version,
        destination="prod",
        created=NOW,
        attempts=2,
        options={"func_name": func_name, "package": "default"},
    )
    claim = Claim(delivery, Event(ref, "v7", "created"), "worker", fence=2, attempt=2)
    body = message_body(claim, outcome or OUTCOMES[type_], 4.2, "https://relay.example.com")
    return Message("01kq3v0m5n6p7q8r9s0t1v2wms", type_, NOW, body)


def digest(count: int = 30, key: str = "prod/orders.zip") -> Message:
    """Return a digest of `count` imports; every tenth import failed."""
    types = [f"import.{'succeeded' if number % 10 else 'failed'}" for number in range(count)]
    messages = [(NOW, {"type": type_, "body": message(type_, key=key).body}) for type_ in types]
    body = digest_body("https://relay.example.com", "01kq3v0m5n6p7q8r9s0t1v2wdg", messages)
    return Message("01kq3v0m5n6p7q8r9s0t1v2wdg", "digest", NOW, body)


def target_message(state: str) -> Message:
    """Return a message that the target is "down", or "up" again."""
    body = {
        "target": "prod",
        "since": NOW.isoformat(),
        "error": PROBLEM.to_json() if state == "down" else None,
        "delivery": "01kq3v0m5n6p7q8r9s0t1v2w3x",
        "links": {"delivery": "https://relay.example.com/deliveries/x", "retrigger": None},
    }
    return Message("01kq3v0m5n6p7q8r9s0t1v2wtd", f"target.{state}", NOW, body)
