"""Decoding of a verified body: JSON, unwrapped down to the storage's own records.

The record of a storage can arrive bare, in SNS, in a queue, in Pub/Sub, or in several of them at
once. So wrappings are recognised by their fields, independent of the outermost envelope. Only
that envelope is verified; inner wrappings are trusted as much as the sender.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from relay.errors import Unreadable
from relay.model import Localized

MAX_DEPTH = 64
"""Levels of nested JSON that are accepted; records of storages have fewer than ten."""

MAX_WRAPPINGS = 6
"""Wrappings inside each other that are removed; Lambda, SQS and SNS together make three."""

Record = Mapping[str, Any]


def decode_json(body: bytes) -> Any:
    """Decode JSON; Unreadable when it is invalid or nested deeper than MAX_DEPTH."""
    try:
        decoded = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise unreadable("it is not UTF-8", "不是 UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise unreadable("it is not JSON", "不是 JSON") from error
    level = [decoded]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return decoded
    raise unreadable(f"it is nested deeper than {MAX_DEPTH} levels", f"嵌套超过 {MAX_DEPTH} 层")


def decode_json_text(text: object) -> Any:
    """Decode the JSON that a wrapping holds as text, plain or in base64."""
    if not isinstance(text, str):
        raise unreadable("the wrapping holds no text", "封装中没有文本")
    body = text.encode("utf-8", "surrogatepass")
    if body.lstrip()[:1] not in (b"{", b"["):
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error:
            raise unreadable("the wrapped content is not JSON", "封装的内容不是 JSON") from None
    return decode_json(body)


def unwrap_records(decoded: Any, depth: int = 0) -> Iterator[Record]:
    """Yield the storage's own records, each an object.

    Unreadable without records, or for a record that is not an object, after those before it.
    """
    if depth > MAX_WRAPPINGS:
        raise unreadable("it has too many wrappings", "封装层数过多")
    if isinstance(decoded, list):
        if not decoded:
            raise unreadable("it contains no record", "其中没有记录")
        for item in decoded:
            yield from unwrap_records(item, depth + 1)
        return
    if not isinstance(decoded, dict):
        raise unreadable("a record should be an object", "记录应为对象")
    for matches, content in _WRAPPINGS:
        if matches(decoded):
            yield from unwrap_records(content(decoded), depth + 1)
            return
    yield decoded


def unreadable(en: str, zh: str) -> Unreadable:
    """The error of a notification that is verified but not understood."""
    return Unreadable(
        "notification.unreadable",
        Localized(f"The notification cannot be read: {en}", f"无法读取该通知：{zh}"),
    )


def _has(*names: str) -> Callable[[Record], bool]:
    return lambda record: all(name in record for name in names)


def _is_lambda_sqs(record: Record) -> bool:
    return record.get("eventSource") == "aws:sqs" and "body" in record


def is_pubsub(record: Record) -> bool:
    """Whether the object is a message as Pub/Sub wraps it."""
    return isinstance(record.get("message"), dict) and "subscription" in record


def _pubsub_content(record: Record) -> Any:
    """S3 records that a storage published to Pub/Sub, else the message with decoded `data`."""
    message = dict(record["message"])
    data = message.get("data")
    message["data"] = decode_json_text(data) if data else None
    content = message["data"]
    return content if isinstance(content, dict) and "Records" in content else {"pubsub": message}


_WRAPPINGS: tuple[tuple[Callable[[Record], bool], Callable[[Record], Any]], ...] = (
    (_has("Records"), lambda record: record["Records"]),
    (_has("record"), lambda record: record["record"]),
    (_has("events"), lambda record: record["events"]),
    # Amazon SNS, directly and as Lambda passes it on; Huawei SMN likewise.
    (_has("TopicArn", "Message"), lambda record: decode_json_text(record["Message"])),
    (_has("Sns"), lambda record: record["Sns"]),
    (_has("topic_urn", "message"), lambda record: decode_json_text(record["message"])),
    (_has("smn"), lambda record: record["smn"]),
    (_is_lambda_sqs, lambda record: decode_json_text(record["body"])),
    (_has("TopicName", "Message"), lambda record: decode_json_text(record["Message"])),
    (is_pubsub, _pubsub_content),
)
"""For each wrapping: does an object match it, and what does it contain? The first match wins."""


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
