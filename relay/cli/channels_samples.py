"""Sample messages of every type, to test a channel and to preview cards."""

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
    Localized("The target did not respond ten times in a row", "目标端连续十次没有应答"),
    Localized("Relay checks it every 30 seconds.", "Relay 每 30 秒检查一次。"),
)
_URN = "urn:fss:cn-north-4:0123456789abcdef:function:default:{}:latest"
_NAMES = (
    *("orders-sync", "invoice-export", "image-resize", "nightly-report", "user-import"),
    *("mail-digest", "stock-watch", "geo-lookup", "pdf-render", "log-shipper", "price-feed"),
    *("audit-trail", "token-refresh"),
)


def sample_message(type_: str, now: datetime, links: Json, *, test: bool = True) -> Message:
    """Return a message of one of TYPES. All links lead to `links` ({"delivery", "retrigger"})."""
    if type_ == "digest":
        message_type, body = "digest", _digest(now, links)
    elif type_ in ("down", "up"):
        message_type, body = f"target.{type_}", _target_body(type_, now, links)
    else:
        result = "succeeded" if type_ == "recovered" else type_
        message_type, body = f"import.{result}", _import_body(_NAMES[0], result, now)
        if type_ == "recovered":
            failed_at = (now - timedelta(minutes=42)).isoformat(timespec="seconds")
            body["recovered"] = {"failed_at": failed_at, "message": None}
        body["links"] = links
    return Message(new_id(now), message_type, now, {**body, "test": True} if test else body)


def _import_body(name: str, result: str, now: datetime) -> Json:
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
    body = message_body(_claim(name, now), outcomes[result], 2.4, None)
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
    return Claim(delivery, Event(ref, "v1", "created"), "sample", fence=1, attempt=1)


def _target_body(change: str, now: datetime, links: Json) -> Json:
    return {
        "target": "prod",
        "since": now.isoformat(timespec="seconds"),
        "error": _DOWN.to_json() if change == "down" else None,
        "delivery": new_id(now),
        "links": {**links, "retrigger": None},
    }


def _digest(now: datetime, links: Json) -> Json:
    results = ["failed", "failed", "skipped", *["succeeded"] * (len(_NAMES) - 3)]
    messages = [
        (
            now - timedelta(seconds=4 * number),
            {
                "type": f"import.{result}",
                "body": {**_import_body(name, result, now), "links": links},
            },
        )
        for number, (name, result) in enumerate(zip(_NAMES, results, strict=True))
    ]
    return {**digest_body(None, "", messages), "links": {"deliveries": links["delivery"]}}
