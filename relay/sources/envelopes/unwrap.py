"""What lies inside a body whose sender is known: JSON, unwrapped down to the storage's own records.

One storage's record comes bare, in SNS, in a queue, in Pub/Sub and in several of them at once; so
wrappings are told apart here by their shape, whatever envelope was outermost. Only that one was
verified: those inside are as good as the sender who put them there.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from relay.errors import Unreadable
from relay.model import Localized

DEEPEST = 64
"""Levels of nesting that we read; no storage's record has ten."""

WRAPPINGS = 6
"""Wrappings within wrappings; real ones have three at most: Lambda's list, SQS, SNS."""

Record = Mapping[str, Any]


def decode(body: bytes) -> Any:
    """The JSON in a body from outside; Unreadable when it is none, or too deep to be honest."""
    try:
        found = json.loads(body.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise unreadable("it is not UTF-8", "不是 UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise unreadable("it is not JSON", "不是 JSON") from error
    level = [found]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return found
    raise unreadable(f"it is nested deeper than {DEEPEST} levels", f"嵌套超过 {DEEPEST} 层")


def decode_text(text: object) -> Any:
    """The JSON in a text that a wrapping holds: as it stands, or in base64."""
    if not isinstance(text, str):
        raise unreadable("the wrapping holds no text", "封装中没有文本")
    body = text.encode("utf-8", "surrogatepass")
    if body.lstrip()[:1] not in (b"{", b"["):
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise unreadable("what it wraps is not JSON", "封装的内容不是 JSON") from None
    return decode(body)


def records(found: Any, depth: int = 0) -> Iterator[Record]:
    """The storage's own records in decoded JSON, each an object.

    Unreadable when there is none, or when one is no object; those before it were yielded.
    """
    if depth > WRAPPINGS:
        raise unreadable("it is wrapped too often", "封装层数过多")
    if isinstance(found, list):
        if not found:
            raise unreadable("there is no record in it", "其中没有记录")
        for one in found:
            yield from records(one, depth + 1)
        return
    if not isinstance(found, dict):
        raise unreadable("a record should be an object", "记录应为对象")
    for fits, inner in _WRAPPINGS:
        if fits(found):
            yield from records(inner(found), depth + 1)
            return
    yield found


def unreadable(en: str, zh: str) -> Unreadable:
    """The error of a notification that is verified but not understood."""
    return Unreadable(
        "notification.unreadable",
        Localized(f"The notification cannot be read: {en}", f"无法读取该通知：{zh}"),
    )


def _has(*names: str) -> Callable[[Record], bool]:
    return lambda found: all(name in found for name in names)


def _lambda_sqs(found: Record) -> bool:
    return found.get("eventSource") == "aws:sqs" and "body" in found


def _pubsub(found: Record) -> bool:
    return isinstance(found.get("message"), dict) and "subscription" in found


def _pubsub_message(found: Record) -> Any:
    """S3 records that a store put into Pub/Sub, else the message with its `data` decoded."""
    message = dict(found["message"])
    data = message.get("data")
    message["data"] = decode_text(data) if data else None
    inner = message["data"]
    return inner if isinstance(inner, dict) and "Records" in inner else {"pubsub": message}


_WRAPPINGS: tuple[tuple[Callable[[Record], bool], Callable[[Record], Any]], ...] = (
    (_has("Records"), lambda found: found["Records"]),
    (_has("record"), lambda found: found["record"]),
    (_has("events"), lambda found: found["events"]),
    # Amazon SNS, as itself and as Lambda hands it on; Huawei SMN likewise.
    (_has("TopicArn", "Message"), lambda found: decode_text(found["Message"])),
    (_has("Sns"), lambda found: found["Sns"]),
    (_has("topic_urn", "message"), lambda found: decode_text(found["message"])),
    (_has("smn"), lambda found: found["smn"]),
    (_lambda_sqs, lambda found: decode_text(found["body"])),
    (_has("TopicName", "Message"), lambda found: decode_text(found["Message"])),
    (_pubsub, _pubsub_message),
)
"""How each wrapping looks, and what it wraps. First match wins."""


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
