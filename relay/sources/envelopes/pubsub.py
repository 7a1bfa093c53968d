"""PubSub: push deliveries of Google Cloud Pub/Sub, wrapped or with payload unwrapping.

Wire formats: Pub/Sub, "Push subscriptions" and "Payload unwrapping"; Cloud Storage, "Pub/Sub
notifications" (the attributes).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from relay.errors import Unreadable
from relay.model import Incoming, Localized
from relay.sources.envelopes.oidc import GOOGLE, JwtEnvelope
from relay.sources.envelopes.unwrap import (
    Record,
    decode_json,
    is_pubsub,
    unreadable,
    unwrap_records,
)

ATTRIBUTES = (
    "eventType",
    "eventTime",
    "bucketId",
    "objectId",
    "objectGeneration",
    "overwroteGeneration",
    "overwrittenByGeneration",
    "payloadFormat",
    "notificationConfig",
)
"""The message attributes of a Cloud Storage notification."""

_RESOURCE_FIELDS = {"bucketId": "bucket", "objectId": "name", "objectGeneration": "generation"}
"""Attributes that the object's resource contains too, under these names."""

_METADATA = "x-goog-pubsub-"
_PREFIX = re.compile(rf"{_METADATA}(attributes?-|attr-)?|[-_]")
_AGENTS = ("cloudpubsub-google", "apis-google")
_RESOURCE = b'"storage#object"'


class PubSub(JwtEnvelope):
    """Messages from a sender with a JWT of Google, or with the source's token."""

    name = "pubsub"
    providers = (GOOGLE,)

    def recognises(self, incoming: Incoming) -> bool:
        headers = incoming.headers
        if incoming.method != "POST" or any(name.startswith("ce-") for name in headers):
            return False
        if any(name.startswith(_METADATA) for name in headers):
            return True
        agent = headers.get("user-agent", "").lower()
        return agent.startswith(_AGENTS) or _is_notification(incoming.body)

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the message with decoded data as `{"pubsub": ...}`, or the S3 records in it."""
        body = decode_json(incoming.body) if incoming.body.strip() else None
        if isinstance(body, dict) and (is_pubsub(body) or "Records" in body):
            yield from unwrap_records(body)
        else:
            yield {"pubsub": _unwrapped_message(incoming.headers, body)}


def _unwrapped_message(headers: Mapping[str, str], data: Any) -> Record:
    """Rebuild a message that Pub/Sub unwrapped before sending.

    Attributes are headers with their own names, as documented. A prefix or hyphens are accepted
    too.
    """
    fields = {_PREFIX.sub("", name): (name, value) for name, value in headers.items()}
    attributes = {
        name: _header_text(*fields[name.lower()]) for name in ATTRIBUTES if name.lower() in fields
    }
    if "eventType" not in attributes:
        raise Unreadable(
            "pubsub.no_attributes",
            Localized(
                "The message is unwrapped and has no attributes, so the event is unknown: turn "
                "payload unwrapping off, or `write metadata` on",
                "消息已解包且不含属性，无法得知对象发生了什么：请关闭 payload unwrapping，"
                "或开启 write metadata",
            ),
        )
    if isinstance(data, dict):
        # A header cannot contain every key; the resource can.
        values = {name: data.get(field) for name, field in _RESOURCE_FIELDS.items()}
        attributes |= {
            name: str(value) for name, value in values.items() if type(value) in (str, int)
        }
    ids = {"messageId": "messageid", "publishTime": "publishtime"}
    return {
        "attributes": attributes,
        **{name: fields[header][1] for name, header in ids.items() if header in fields},
        "data": data,
    }


def _header_text(name: str, value: str) -> str:
    """Decode a header as UTF-8. WSGI decodes headers as Latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise unreadable(f"the header {name} is not UTF-8", f"请求头 {name} 不是 UTF-8") from None


def _is_notification(body: bytes) -> bool:
    if b'"subscription"' not in body and _RESOURCE not in body:
        return False
    try:
        decoded = decode_json(body)
    except Unreadable:
        return False
    return isinstance(decoded, dict) and (
        is_pubsub(decoded) or decoded.get("kind") == "storage#object"
    )
