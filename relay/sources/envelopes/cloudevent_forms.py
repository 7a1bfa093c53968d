"""CloudEvents as HTTP brings them, in three forms, brought into one: the structured JSON.

Wire formats: CloudEvents 1.0, HTTP protocol binding, JSON format, and HTTP 1.1 Web Hooks (its
OPTIONS request that asks before anything is sent).
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
from relay.sources.envelopes.token import check
from relay.sources.envelopes.unwrap import Record, decode, records, unreadable
from relay.sources.fields import text

Reader = Callable[[Any], Iterator[Record]]
"""The records in one of the things that a body lists."""

REQUIRED = ("specversion", "type", "source", "id")

_STRUCTURED = "application/cloudevents"
_JSON = re.compile(r"(application|text)/([a-z0-9.-]+\+)?json")
_ORIGIN = re.compile(r"[A-Za-z0-9._:/\[\]-]{1,253}")


def looks(incoming: Incoming) -> bool:
    """Whether these are CloudEvents, by content type, headers or shape. Trusts nothing."""
    if _media(incoming.headers).startswith(_STRUCTURED) or _is_binary(incoming):
        return True
    return b'"specversion"' in incoming.body and any(
        isinstance(one, dict) and "specversion" in one for one in shape(incoming)
    )


def shape(incoming: Incoming) -> list[Any]:
    """What the body lists, before anybody is trusted: [] when that is not to be made out."""
    try:
        return _listed(decode(incoming.body))
    except Unreadable:
        return []


def read(incoming: Incoming, reader: Reader | None = None) -> Iterator[Record]:
    """The events of a request, each as one object: attributes at its top, and `data`.

    S3 records in `data` are unwrapped. Unreadable when one is no event; the others count.
    `reader` reads each thing that a JSON body lists; by default it should be an `event`, and in an
    object with "events" it may be a record of any kind.
    """
    media = _media(incoming.headers)
    if media.startswith(_STRUCTURED):
        if media.removeprefix(_STRUCTURED).removeprefix("-batch") not in ("", "+json"):
            raise unreadable("it is a CloudEvent that is not in JSON", "CloudEvent 不是 JSON 格式")
        return each(_listed(decode(incoming.body)), reader or event)
    if _is_binary(incoming):
        return _binary(incoming)
    found = decode(incoming.body)
    return each(_listed(found), reader or (_event_or_record if _is_events(found) else event))


def each(listed: Iterable[Any], reader: Reader) -> Iterator[Record]:
    """The records of all that are listed; then raises what was wrong with the first bad one."""
    problem = None
    for one in listed:
        try:
            yield from reader(one)
        except Unreadable as error:
            problem = problem or error
    if problem:
        raise problem


def event(found: Any) -> Iterator[Record]:
    """An event in the structured form, its data decoded; or the storage's records in its data.

    Unreadable when an attribute that every event has is missing.
    """
    if not isinstance(found, dict):
        raise unreadable("a CloudEvent should be an object", "CloudEvent 应为对象")
    for name in REQUIRED:
        text(found, name)
    data = _data(found)
    if isinstance(data, dict) and ("Records" in data or {"message", "subscription"} <= data.keys()):
        yield from records(data)
        return
    yield {**{name: one for name, one in found.items() if name != "data_base64"}, "data": data}


def consent(incoming: Incoming) -> HandshakeReply | None:
    """The answer to a sender that asks whether it may send; None when this is no such question.

    WebHook-Request-Callback is never visited: this answer says the same.
    """
    origin = incoming.headers.get("webhook-request-origin", "")
    if incoming.method != "OPTIONS" or not _ORIGIN.fullmatch(origin):
        return None
    headers = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"}
    return HandshakeReply(headers=headers)


def asks(incoming: Incoming) -> bool:
    """Whether it looks like such a question."""
    return incoming.method == "OPTIONS" and "webhook-request-origin" in incoming.headers


def knows_token(settings: SourceSettings, incoming: Incoming) -> bool:
    """Whether the address that was asked at holds the source's token; Unverified: a wrong one.

    Told when the hook is set up, it costs no event.
    """
    if not settings.token or {"token", "access_token"}.isdisjoint(incoming.query):
        return False
    check(settings, incoming)
    return True


def _binary(incoming: Incoming) -> Iterator[Record]:
    data = _content(incoming.body, _media(incoming.headers))
    if isinstance(data, dict) and "Records" in data:
        # Ceph writes keys into its headers as they are; all that they say is in the records.
        yield from records(data)
        return
    found = {
        name.removeprefix("ce-"): _header(value, name)
        for name, value in incoming.headers.items()
        if name.startswith("ce-")
    }
    if "content-type" in incoming.headers:
        found["datacontenttype"] = incoming.headers["content-type"]
    yield from event({**found, "data": data})


def _header(value: str, name: str) -> str:
    """An attribute: unquoted, then percent-decoded once. WSGI reads its bytes as latin-1."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    wrong = unreadable(
        f"the header {name} is not percent-encoded UTF-8", f"请求头 {name} 不是百分号编码的 UTF-8"
    )
    try:
        sent = value.encode("latin-1")
        found = unquote_to_bytes(sent).decode()
    except ValueError:
        raise wrong from None
    if b"%" in sent and not sent.isascii():
        raise wrong  # who does not encode other letters may not encode % either
    return found


def _data(found: Mapping[str, Any]) -> Any:
    data = found.get("data")
    encoded = found.get("data_base64")
    if data is None and encoded is not None:
        try:
            body = base64.b64decode(encoded, validate=True)
        except (TypeError, ValueError, binascii.Error):
            raise unreadable("its data_base64 is not base64", "data_base64 不是 base64") from None
        kind = found.get("datacontenttype")
        return _content(body, _media({"content-type": kind} if isinstance(kind, str) else {}))
    if isinstance(data, str):
        # Some put JSON into the JSON as a text.
        return _content(data.encode("utf-8", "surrogatepass"), "text/plain")
    return data


def _content(body: bytes, media: str) -> Any:
    """JSON that says so, or that looks like it, decoded; else its text; None: there is none."""
    if not body.strip():
        return None
    if _JSON.fullmatch(media) or not media:
        return decode(body)
    try:
        if body.lstrip()[:1] in (b"{", b"["):
            return decode(body)
    except Unreadable:
        pass  # it only looked like JSON: a text may begin with a bracket
    return body.decode("utf-8", "replace")


def _event_or_record(one: Any) -> Iterator[Record]:
    return event(one) if isinstance(one, dict) and "specversion" in one else records(one)


def _is_events(found: Any) -> bool:
    return isinstance(found, dict) and "specversion" not in found and "events" in found


def _listed(found: Any) -> list[Any]:
    if _is_events(found):
        found = found["events"]
    return found if isinstance(found, list) else [found]


def _is_binary(incoming: Incoming) -> bool:
    return any(f"ce-{name}" in incoming.headers for name in REQUIRED)


def _media(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
