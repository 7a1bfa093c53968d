"""A stored notification becomes a test case: `case.http` and `case.json`, without its secrets.

The form is that of tests/notifications: what Relay makes of it stands beside it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from pydantic import SecretStr

from relay.config.load import SourceSettings, secrets
from relay.config.senders import SenderSettings
from relay.errors import Unreadable, Unverified
from relay.intake.intake import ParsedNotification, envelopes, read
from relay.ledger import Notification
from relay.model import Event, Incoming, Json
from relay.sources.contract import StorageHandler
from relay.sources.envelope import Envelope
from relay.sources.envelopes import ENVELOPES

TOKEN = "hook-token"  # noqa: S105 - what every case shows in place of the real one
HOST = "relay.example.com"
_SHORTEST = 4
_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)

_LEFT_OUT = re.compile(
    r"host|content-length|transfer-encoding|connection|cookie|forwarded|via|x-real-ip"
    r"|x-forwarded-.*|cf-.*|x-envoy-.*|true-client-ip|relay-replay-of"
)
"""Headers of proxies and of people's networks: no case depends on them."""

_IN_ADDRESSES = re.compile(
    rb"((?:[?&]|\\u0026)(?:X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|Signature|sig"
    rb'|token|access_token|OSSAccessKeyId|q-signature|security-token)=)[^&"\\\s]+',
    re.IGNORECASE,
)
_ACCOUNTS = (
    (re.compile(rb"(arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:)[0-9]{12}"), rb"\g<1>123456789012"),
    (
        re.compile(
            rb'(\\*"(?:principalId|PrincipalId|accountId|account|requester|sourceIPAddress'
            rb'|source-ip-address|aliyunaccountid|compartmentId)\\*"\s*:\s*\\*")[^"\\]*'
        ),
        rb"\g<1>hidden",
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """The two files of a case, and whether it reads as the notification did."""

    http: bytes
    json: bytes
    is_true: bool


def case_of(notification: Notification, handler: StorageHandler, *, hide: bool = False) -> Case:
    """The case of a notification of the handler's source. `hide`: account ids are replaced too."""
    settings = handler.settings
    reading = _first_reading(notification, handler)
    body = _redacted(notification.body, settings, hide=hide)
    whole = _request(notification, settings, body)
    for raw in (whole, *_unwrapped(notification, settings, hide=hide)):
        found = as_a_test_reads(handler, raw)
        if found is not None and _same(found, reading, hide=hide):
            return Case(raw, _answer(notification, settings, found), is_true=True)
    found = as_a_test_reads(handler, whole)
    return Case(whole, _answer(notification, settings, found), is_true=False)


def as_a_test_reads(handler: StorageHandler, raw: bytes) -> ParsedNotification | None:
    """What a source of this kind makes of the request when it has a token and nothing else; None:
    it does not know the sender."""
    settings = _as_in_tests(handler.settings)
    incoming = _parsed(handler.name, raw)
    offered = [one for one in envelopes(settings) if not one.missing_setting()]
    envelope = next((one for one in offered if one.recognises(incoming)), None)
    if envelope is None:
        return None
    try:
        envelope.verify(incoming)
    except Unverified:
        return None
    return read(handler, envelope, incoming)


def _first_reading(notification: Notification, handler: StorageHandler) -> ParsedNotification:
    envelope = _envelope(notification, handler.settings)
    return read(handler, envelope, _incoming(notification))


def _envelope(notification: Notification, settings: SourceSettings) -> Envelope:
    name = next((one for one in notification.envelopes if one in ENVELOPES), "bare")
    return ENVELOPES[name](settings)


def _incoming(notification: Notification) -> Incoming:
    return Incoming(
        notification.source,
        notification.body,
        notification.received,
        notification.road,
        notification.method,
        notification.path,
        headers=notification.headers,
    )


def _unwrapped(
    notification: Notification, settings: SourceSettings, *, hide: bool
) -> Iterator[bytes]:
    """The records alone, for a wrapping whose sender cannot be shown to a test (it was signed)."""
    envelope = _envelope(notification, settings)
    try:
        records = list(envelope.unwrap(_incoming(notification)))
    except Unreadable:
        return
    body = json.dumps(records, ensure_ascii=False).encode("utf-8", "surrogatepass")
    yield _request(notification, settings, _redacted(body, settings, hide=hide), alone=True)


def _request(
    notification: Notification, settings: SourceSettings, body: bytes, *, alone: bool = False
) -> bytes:
    """The request as HTTP/1.1, sent by somebody who knows the token `hook-token`."""
    kept = {} if alone else _headers(notification.headers, settings)
    own = (settings.token_header or "").lower()
    target = f"/hooks/{notification.source}"
    if "authorization" not in kept and own not in kept:
        if notification.headers and not alone:
            target += f"?token={TOKEN}"
        else:
            kept["authorization"] = f"Bearer {TOKEN}"
            kept.setdefault("content-type", "application/json")
    lines = [f"{notification.method} {target} HTTP/1.1", f"host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in kept.items()]
    lines.append(f"content-length: {len(body)}")
    head = "\r\n".join([*lines, "", ""])
    return head.encode("latin-1", "replace") + body


def _headers(stored: Mapping[str, str], settings: SourceSettings) -> dict[str, str]:
    hidden = _hidden(settings)
    kept = {}
    for name, value in stored.items():
        lower = name.lower()
        if _LEFT_OUT.fullmatch(lower):
            continue
        if lower == "authorization":
            kept[lower] = f"Bearer {TOKEN}"
        elif lower == (settings.token_header or "").lower():
            kept[lower] = TOKEN
        else:
            line = re.sub(r"[\r\n]+", " ", value)
            clean = _IN_ADDRESSES.sub(rb"\1redacted", line.encode("latin-1", "replace"))
            text = clean.decode("latin-1")
            for secret in hidden:
                text = text.replace(secret, "redacted")
            kept[lower] = text
    return kept


def _redacted(body: bytes, settings: SourceSettings, *, hide: bool) -> bytes:
    token = settings.token.get_secret_value() if settings.token else ""
    for secret in _hidden(settings):
        replacement = TOKEN if secret == token else "redacted"
        for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
            body = body.replace(form.encode(), replacement.encode())
    body = _IN_ADDRESSES.sub(rb"\1redacted", body)
    for pattern, instead in _ACCOUNTS if hide else ():
        body = pattern.sub(instead, body)
    return body


def _hidden(settings: SourceSettings) -> list[str]:
    """The source's secrets, the longest first. Shorter ones would tear everything apart."""
    found = (one for one in secrets(settings) if len(one) >= _SHORTEST)
    return sorted(found, key=len, reverse=True)


def _as_in_tests(settings: SourceSettings) -> SourceSettings:
    """The source with the token of all cases, and without everything else that knows senders. What
    was signed is bare in a case."""
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in SenderSettings.model_fields.items()
        if name not in ("accept", "token_header")
    }
    accept = settings.accept if "bare" in settings.accept else (*settings.accept, "bare")
    return settings.model_copy(update={**defaults, "accept": accept, "token": SecretStr(TOKEN)})


def _parsed(source: str, raw: bytes) -> Incoming:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    path, _, query = target.partition("?")
    shown = {"token": TOKEN} if query else {}
    return Incoming(
        source, body, _SOME_TIME, method=method, path=path, query=shown, headers=headers
    )


def _same(found: ParsedNotification, first: ParsedNotification, *, hide: bool) -> bool:
    if found.verdict != first.verdict:
        return False
    if hide:  # what was replaced may be part of an identity
        return len(found.events) == len(first.events)
    return found.events == first.events


def _answer(
    notification: Notification, settings: SourceSettings, found: ParsedNotification | None
) -> bytes:
    wrapped = ", ".join(notification.envelopes) or "bare"
    told: Json = {
        "why": f"captured {notification.received:%Y-%m-%d} from a source of kind {settings.kind}: "
        f"{wrapped}, {notification.verdict}",
        "verdict": found.verdict.value if found else "unverified",
        "events": [_event(event) for event in found.events] if found else [],
    }
    if found and found.verdict == "unreadable" and found.reason:
        told["reason"] = found.reason
    keys = ("key_encoding", "token_header")
    own = {key: getattr(settings, key) for key in keys if key in settings.model_fields_set}
    accept = _as_in_tests(settings).accept
    if accept != type(settings).model_fields["accept"].default:
        own["accept"] = accept
    told |= {"settings": own} if own else {}
    return (json.dumps(told, indent=2, ensure_ascii=True) + "\n").encode()


def _event(event: Event) -> Json:
    ref = event.object
    return {
        "bucket": ref.bucket,
        "key": ref.key,
        "version": ref.version,
        "etag": ref.etag,
        "size": ref.size,
        "identity": event.identity,
        "type": event.type,
        "time": event.time.isoformat() if event.time else None,
        "order": event.order,
    }
