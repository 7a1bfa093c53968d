"""CloudEvents over HTTP: the binary, structured and batched forms, read as structured JSON.

Wire formats: CloudEvents 1.0, HTTP protocol binding, JSON format, and HTTP 1.1 Web Hooks (the
OPTIONS request that asks for permission before anything is sent).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from relay.config.load import SourceSettings
from relay.errors import Unreadable
from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes.token import check_token
from relay.sources.envelopes.unwrap import Record, decode_json, unreadable, unwrap_records
from relay.sources.fields import text

ItemReader = Callable[[Any], Iterator[Record]]
"""Reads the records of an item of a body."""

REQUIRED = ("specversion", "type", "source", "id")

_STRUCTURED = "application/cloudevents"
_JSON = re.compile(r"(application|text)/([a-z0-9.-]+\+)?json")
_ORIGIN = re.compile(r"[A-Za-z0-9._:/\[\]-]{1,253}")


def is_cloudevent(incoming: Incoming) -> bool:
    """Whether a request has the content type, headers or JSON fields of CloudEvents."""
    if _media_type(incoming.headers).startswith(_STRUCTURED) or _is_binary(incoming):
        return True
    return b'"specversion"' in incoming.body and any(map(_has_specversion, list_items(incoming)))


def list_items(incoming: Incoming) -> list[Any]:
    """List the JSON items of an unverified body; empty when they cannot be read."""
    try:
        return _items(decode_json(incoming.body))
    except Unreadable:
        return []


def read_events(incoming: Incoming, reader: ItemReader | None = None) -> Iterator[Record]:
    """Yield the events of a request, each an object with attributes and `data`.

    S3 records in `data` are unwrapped. Raises Unreadable for the first invalid event, after all
    valid ones. `reader` reads each item of a JSON body; the default is `read_event`, and also
    accepts other records inside an object with "events".
    """
    media_type = _media_type(incoming.headers)
    if media_type.startswith(_STRUCTURED):
        if media_type.removeprefix(_STRUCTURED).removeprefix("-batch") not in ("", "+json"):
            raise unreadable("its CloudEvent is not in JSON", "CloudEvent 不是 JSON 格式")
        return _read_items(_items(decode_json(incoming.body)), reader or read_event)
    if _is_binary(incoming):
        return _read_binary(incoming)
    body = decode_json(incoming.body)
    default = _read_event_or_record if _is_event_list(body) else read_event
    return _read_items(_items(body), reader or default)


def read_event(event: Any) -> Iterator[Record]:
    """Yield an event of the structured form with decoded data, or the storage's records in it.

    Unreadable when a required attribute is missing.
    """
    if not isinstance(event, dict):
        raise unreadable("a CloudEvent should be an object", "CloudEvent 应为对象")
    for name in REQUIRED:
        text(event, name)
    data = _event_data(event)
    if isinstance(data, dict) and ("Records" in data or {"message", "subscription"} <= data.keys()):
        yield from unwrap_records(data)
        return
    attributes = {name: value for name, value in event.items() if name != "data_base64"}
    yield {**attributes, "data": data}


def permission_reply(incoming: Incoming) -> HandshakeReply | None:
    """The reply that allows a sender to send; None for any other request.

    The URL in WebHook-Request-Callback is never visited: this reply already gives permission.
    """
    origin = incoming.headers.get("webhook-request-origin", "")
    if incoming.method != "OPTIONS" or not _ORIGIN.fullmatch(origin):
        return None
    headers = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"}
    return HandshakeReply(headers=headers)


def is_permission_request(incoming: Incoming) -> bool:
    """Whether a sender asks for permission to send."""
    return incoming.method == "OPTIONS" and "webhook-request-origin" in incoming.headers


def has_url_token(settings: SourceSettings, incoming: Incoming) -> bool:
    """Whether the URL contains the source's token; Unverified when it contains a wrong token.

    A wrong token is refused during set-up already, so that no event is lost later.
    """
    if not settings.token or {"token", "access_token"}.isdisjoint(incoming.query):
        return False
    check_token(settings, incoming)
    return True


def _read_items(items: Iterable[Any], reader: ItemReader) -> Iterator[Record]:
    first_error = None
    for item in items:
        try:
            yield from reader(item)
        except Unreadable as error:
            first_error = first_error or error
    if first_error:
        raise first_error


def _read_binary(incoming: Incoming) -> Iterator[Record]:
    data = _content(incoming.body, _media_type(incoming.headers))
    if isinstance(data, dict) and "Records" in data:
        # Ceph does not encode keys in headers; the records contain the same data.
        yield from unwrap_records(data)
        return
    attributes = {
        name.removeprefix("ce-"): _attribute(value, name)
        for name, value in incoming.headers.items()
        if name.startswith("ce-")
    }
    if "content-type" in incoming.headers:
        attributes["datacontenttype"] = incoming.headers["content-type"]
    yield from read_event({**attributes, "data": data})


def _attribute(value: str, header: str) -> str:
    """Unquote a header value, then percent-decode it once. WSGI decodes headers as Latin-1."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    invalid = unreadable(
        f"the header {header} is not percent-encoded UTF-8",
        f"请求头 {header} 不是百分号编码的 UTF-8",
    )
    try:
        encoded = value.encode("latin-1")
        decoded = unquote_to_bytes(encoded).decode()
    except ValueError:
        raise invalid from None
    if b"%" in encoded and not encoded.isascii():
        raise invalid  # a sender that leaves other characters unencoded may not encode % either
    return decoded


def _event_data(event: Mapping[str, Any]) -> Any:
    data = event.get("data")
    encoded = event.get("data_base64")
    if data is None and encoded is not None:
        try:
            body = base64.b64decode(encoded, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise unreadable("its data_base64 is not base64", "data_base64 不是 base64") from None
        content_type = event.get("datacontenttype")
        headers = {"content-type": content_type} if isinstance(content_type, str) else {}
        return _content(body, _media_type(headers))
    if isinstance(data, str):
        # Some senders put JSON into the event as text.
        return _content(data.encode("utf-8", "surrogatepass"), "text/plain")
    return data


def _content(body: bytes, media_type: str) -> Any:
    """Decode JSON by media type or first character; else return the text. None if empty."""
    if not body.strip():
        return None
    if _JSON.fullmatch(media_type) or not media_type:
        return decode_json(body)
    try:
        if body.lstrip()[:1] in (b"{", b"["):
            return decode_json(body)
    except Unreadable:
        pass  # text can begin with a bracket too
    return body.decode("utf-8", "replace")


def _read_event_or_record(item: Any) -> Iterator[Record]:
    return read_event(item) if _has_specversion(item) else unwrap_records(item)


def _has_specversion(item: Any) -> bool:
    return isinstance(item, dict) and "specversion" in item


def _is_event_list(body: Any) -> bool:
    return isinstance(body, dict) and "specversion" not in body and "events" in body


def _items(body: Any) -> list[Any]:
    if _is_event_list(body):
        body = body["events"]
    return body if isinstance(body, list) else [body]


def _is_binary(incoming: Incoming) -> bool:
    return any(f"ce-{name}" in incoming.headers for name in REQUIRED)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
