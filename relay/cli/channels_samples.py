"""Messages that tell of nothing that happened: to try a channel with, to see how its cards look."""

from __future__ import annotations

from datetime import datetime, timedelta

from relay.channels.contract import Message
from relay.channels.messages import digest_body, message_body
from relay.ledger.ids import new_id
from relay.model import (
    Claim,
    Delivery,
    Event,
    Failed,
    Json,
    Kind,
    Localized,
    ObjectRef,
    Outcome,
    Problem,
    Skipped,
    State,
    Succeeded,
)

TYPES = ("succeeded", "failed", "skipped", "recovered", "down", "up", "digest")

_TRUNCATED = Problem(
    "archive.truncated",
    Localized("The archive ends early: its directory is missing", "压缩包不完整：缺少末尾的目录"),
    Localized(
        "Export the function again, or upload the zip again: the upload was probably cut off.",
        "请重新导出函数或重新上传该 zip，上次上传可能中途中断。",
    ),
)
_DOWN = Problem(
    "target.unreachable",
    Localized("The target did not answer ten times in a row", "目标端连续十次没有应答"),
    Localized("Relay tries it every 30 seconds.", "Relay 每 30 秒试探一次。"),
)
_URN = "urn:fss:cn-north-4:0123456789abcdef:function:default:{}:latest"
_NAMES = (
    *("orders-sync", "invoice-export", "image-resize", "nightly-report", "user-import"),
    *("mail-digest", "stock-watch", "geo-lookup", "pdf-render", "log-shipper", "price-feed"),
    *("audit-trail", "token-refresh"),
)


def sample(word: str, now: datetime, links: Json, *, test: bool = True) -> Message:
    """A message of one of TYPES, whose every link leads to `links` ({"delivery", "retrigger"})."""
    if word == "digest":
        type_, body = "digest", _digest(now, links)
    elif word in ("down", "up"):
        type_, body = f"target.{word}", _turned(word, now, links)
    else:
        told = "succeeded" if word == "recovered" else word
        type_, body = f"import.{told}", _import(_NAMES[0], told, now)
        if word == "recovered":
            failed_at = (now - timedelta(minutes=42)).isoformat(timespec="seconds")
            body["recovered"] = {"failed_at": failed_at, "message": None}
        body["links"] = links
    return Message(new_id(now), type_, now, {**body, "test": True} if test else body)


def _import(name: str, word: str, now: datetime) -> Json:
    outcomes: dict[str, Outcome] = {
        "succeeded": Succeeded(
            {
                "how": "updated",
                "func_name": name,
                "package": "default",
                "func_urn": _URN.format(name),
                "runtime": "Python3.12",
                "digest": "9b71d224bd62f3785d96d46ad3ea3d73",
            }
        ),
        "failed": Failed(_TRUNCATED),
        "skipped": Skipped("unchanged"),
    }
    body = message_body(_claim(name, now), outcomes[word], 2.4, None)
    return {**body, "region": "cn-north-4"}


def _claim(name: str, now: datetime) -> Claim:
    ref = ObjectRef("exports", f"prod/{name}.zip", "3HL4kqtJvjVBH40Nrjfkd", size=1_843_200)
    delivery = Delivery(
        id=new_id(now),
        kind=Kind.IMPORT,
        state=State.RUNNING,
        source="exports",
        route="exports",
        bucket=ref.bucket,
        key=ref.key,
        version=ref.version,
        destination="prod",
        created=now,
        attempts=1,
        options={"func_name": name, "package": "default"},
    )
    return Claim(delivery, Event(ref, "v1", "created"), "nobody", fence=1, attempt=1)


def _turned(word: str, now: datetime, links: Json) -> Json:
    return {
        "target": "prod",
        "since": now.isoformat(timespec="seconds"),
        "error": _DOWN.to_json() if word == "down" else None,
        "delivery": new_id(now),
        "links": {**links, "retrigger": None},
    }


def _digest(now: datetime, links: Json) -> Json:
    words = ["failed", "failed", "skipped", *["succeeded"] * (len(_NAMES) - 3)]
    told = [
        (
            now - timedelta(seconds=4 * number),
            {"type": f"import.{word}", "body": {**_import(name, word, now), "links": links}},
        )
        for number, (name, word) in enumerate(zip(_NAMES, words, strict=True))
    ]
    return {**digest_body(None, "", told), "links": {"deliveries": links["delivery"]}}
