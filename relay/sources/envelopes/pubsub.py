"""Google Cloud Pub/Sub's push deliveries, wrapped or with the wrapping's fields in headers.

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
from relay.sources.envelopes.unwrap import Record, decode, records, unreadable

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
"""What Cloud Storage says in a message's attributes."""

_SAME = {"bucketId": "bucket", "objectId": "name", "objectGeneration": "generation"}
"""Attributes that the object's resource holds too, under these names."""

_METADATA = "x-goog-pubsub-"
_PREFIX = re.compile(rf"{_METADATA}(attributes?-|attr-)?|[-_]")
_AGENTS = ("cloudpubsub-google", "apis-google")
_RESOURCE = b'"storage#object"'


class PubSub(JwtEnvelope):
    """Messages from a sender with Google's token, or with the source's own."""

    name = "pubsub"
    providers = (GOOGLE,)

    def recognises(self, incoming: Incoming) -> bool:
        headers = incoming.headers
        if incoming.method != "POST" or any(name.startswith("ce-") for name in headers):
            return False
        if any(name.startswith(_METADATA) for name in headers):
            return True
        agent = headers.get("user-agent", "").lower()
        return agent.startswith(_AGENTS) or _is_ours(incoming.body)

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The message, `data` decoded, as `{"pubsub": ...}`; or the S3 records in it."""
        found = decode(incoming.body) if incoming.body.strip() else None
        if _is_wrapped(found) or (isinstance(found, dict) and "Records" in found):
            yield from records(found)
        else:
            yield {"pubsub": _message(incoming.headers, found)}


def _message(headers: Mapping[str, str], data: Any) -> Record:
    """The message that was unwrapped before it was sent.

    Attributes are headers of their own, as documented; a prefix and hyphens do no harm.
    """
    found = {_PREFIX.sub("", name): (name, value) for name, value in headers.items()}
    attributes = {name: _text(*found[name.lower()]) for name in ATTRIBUTES if name.lower() in found}
    if "eventType" not in attributes:
        raise Unreadable(
            "pubsub.no_attributes",
            Localized(
                "The message came unwrapped and without its attributes, so it does not say what "
                "happened to the object: turn payload unwrapping off, or `write metadata` on",
                "消息已解包且不含属性，无法得知对象发生了什么：请关闭 payload unwrapping，"
                "或开启 write metadata",
            ),
        )
    if isinstance(data, dict):
        # A header may not hold every key; the resource does.
        said = {name: data.get(same) for name, same in _SAME.items()}
        attributes |= {name: str(one) for name, one in said.items() if type(one) in (str, int)}
    ids = {"messageId": "messageid", "publishTime": "publishtime"}
    return {
        "attributes": attributes,
        **{name: found[same][1] for name, same in ids.items() if same in found},
        "data": data,
    }


def _text(name: str, value: str) -> str:
    """A header's text: UTF-8 that WSGI read as latin-1."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise unreadable(f"the header {name} is not UTF-8", f"请求头 {name} 不是 UTF-8") from None


def _is_ours(body: bytes) -> bool:
    if b'"subscription"' not in body and _RESOURCE not in body:
        return False
    try:
        found = decode(body)
    except Unreadable:
        return False
    if _is_wrapped(found):
        return True
    return isinstance(found, dict) and found.get("kind") == "storage#object"


def _is_wrapped(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and isinstance(found.get("message"), dict)
        and "subscription" in found
    )
