"""Sample messages of every type: for `relay channels test`, and for the tests of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle

from relay.channels.contract import Message
from relay.channels.messages import digest_body, message_body, page_links
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
TYPES = ("succeeded", "failed", "skipped", "recovered", "down", "up", "digest")

PROBLEM = Problem(
    "archive.truncated",
    Localized("The end of the archive is missing", "压缩包的末尾缺失"),
    Localized("Upload it again.", "请重新上传。"),
)
DOWN = Problem(
    "target.unreachable",
    Localized("The target did not respond ten times in a row", "目标连续十次没有响应"),
    Localized("Relay checks it every 30 seconds.", "Relay 每 30 秒检查一次。"),
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

_PUBLIC_URL = "https://relay.example.com"
_DELIVERY = "01kq3v0m5n6p7q8r9s0t1v2w3x"
_NAMES = ("orders", "invoice-export", "image-resize", "nightly-report", "user-import", "pdf-render")


def sample_message(type_: str, message_id: str, now: datetime, page: str | None) -> Message:
    """Return a message of one of TYPES. All links lead to `page`."""
    links = {"delivery": page, "retrigger": page}
    if type_ == "digest":
        sample = digest(13, skipped=1, now=now)
        for delivery, name in zip(sample.body["deliveries"], cycle(_NAMES)):
            delivery |= {"func_name": name, "links": links}
        links = {"deliveries": page}
    elif type_ in ("down", "up"):
        sample = target_message(type_, now)
        links["retrigger"] = None
    else:
        sample = message(f"import.{'succeeded' if type_ == 'recovered' else type_}")
    body = {**sample.body, "links": links}
    if type_ == "recovered":
        failed_at = (now - timedelta(minutes=42)).isoformat(timespec="seconds")
        body["recovered"] = {"failed_at": failed_at, "message": None}
    return replace(sample, id=message_id, timestamp=now, body=body)


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
        id=_DELIVERY,
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
    body = message_body(claim, outcome or OUTCOMES[type_], 4.2, _PUBLIC_URL)
    return Message("01kq3v0m5n6p7q8r9s0t1v2wms", type_, NOW, body)


def digest(
    count: int = 30, *, skipped: int = 0, key: str = "prod/orders.zip", now: datetime = NOW
) -> Message:
    """Return a digest of `count` imports; every tenth failed, and the last were skipped."""
    messages = []
    for number in range(count):
        result = "failed" if number % 10 == 0 else "succeeded"
        type_ = f"import.{'skipped' if number >= count - skipped else result}"
        created = now - timedelta(seconds=4 * (count - number - 1))
        messages.append((created, {"type": type_, "body": message(type_, key=key).body}))
    digest_id = "01kq3v0m5n6p7q8r9s0t1v2wdg"
    return Message(digest_id, "digest", now, digest_body(_PUBLIC_URL, digest_id, messages))


def target_message(state: str, now: datetime = NOW) -> Message:
    """Return a message that the target is "down", or "up" again."""
    body = {
        "target": "prod",
        "since": now.isoformat(timespec="seconds"),
        "error": DOWN.to_json() if state == "down" else None,
        "delivery": _DELIVERY,
        "links": {**page_links(_PUBLIC_URL, _DELIVERY), "retrigger": None},
    }
    return Message("01kq3v0m5n6p7q8r9s0t1v2wtd", f"target.{state}", now, body)
