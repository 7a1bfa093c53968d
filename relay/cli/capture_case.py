"""Converts a stored notification to a test case without secrets: `case.http` and `case.json`.

The format is that of tests/notifications: the request, and the expected result of parsing it.
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
from relay.config.redaction import QUERY_SECRETS
from relay.config.senders import SenderSettings
from relay.errors import Unreadable, Unverified
from relay.intake.intake import ParsedNotification, build_envelopes, parse
from relay.ledger import Notification
from relay.model import Event, Incoming, Json
from relay.sources.contract import StorageHandler
from relay.sources.envelope import Envelope
from relay.sources.envelopes import ENVELOPES

TOKEN = "hook-token"  # noqa: S105 - replaces the real token in every case
HOST = "relay.example.com"
_SHORTEST_SECRET = 4
_RECEIVED = datetime(2026, 1, 1, tzinfo=UTC)

_OMITTED_HEADERS = re.compile(
    r"host|content-length|transfer-encoding|connection|cookie|forwarded|via|x-real-ip"
    r"|x-forwarded-.*|cf-.*|x-envoy-.*|true-client-ip|relay-replay-of"
)
"""Headers of proxies and networks. No case depends on them."""

_URL_SECRETS = re.compile(
    rb"((?:[?&]|\\u0026)(?:" + QUERY_SECRETS.encode() + rb')=)[^&"\\\s]+', re.IGNORECASE
)
_ACCOUNT_IDS = (
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
    """The two files of a case. `is_faithful`: it has the same result as the notification."""

    http: bytes
    json: bytes
    is_faithful: bool


def build_case(notification: Notification, handler: StorageHandler, *, hide: bool = False) -> Case:
    """Build the case of a notification with the handler of the source. `hide`: hide account ids."""
    settings = handler.settings
    original = parse(handler, _envelope(notification, settings), _incoming(notification))
    body = _redact(notification.body, settings, hide=hide)
    full_request = _request(notification, settings, body)
    for raw in (full_request, *_bare_requests(notification, settings, hide=hide)):
        parsed = parse_as_test(handler, raw)
        if parsed is not None and _same_result(parsed, original, hide=hide):
            return Case(raw, _expected(notification, settings, parsed), is_faithful=True)
    parsed = parse_as_test(handler, full_request)
    return Case(full_request, _expected(notification, settings, parsed), is_faithful=False)


def parse_as_test(handler: StorageHandler, raw: bytes) -> ParsedNotification | None:
    """Parse the request with the settings of a test: a token and no other credential.

    Returns None if the sender cannot be verified.
    """
    settings = _test_settings(handler.settings)
    incoming = _parse_request(handler.name, raw)
    accepted = [
        envelope for envelope in build_envelopes(settings) if not envelope.missing_setting()
    ]
    envelope = next((item for item in accepted if item.recognises(incoming)), None)
    if envelope is None:
        return None
    try:
        envelope.verify(incoming)
    except Unverified:
        return None
    return parse(handler, envelope, incoming)


def _envelope(notification: Notification, settings: SourceSettings) -> Envelope:
    name = next((name for name in notification.envelopes if name in ENVELOPES), "bare")
    return ENVELOPES[name](settings)


def _incoming(notification: Notification) -> Incoming:
    return Incoming(
        notification.source,
        notification.body,
        notification.received,
        notification.origin,
        notification.method,
        notification.path,
        headers=notification.headers,
    )


def _bare_requests(
    notification: Notification, settings: SourceSettings, *, hide: bool
) -> Iterator[bytes]:
    """Yield a request with the unwrapped records, for an envelope whose signature a test lacks."""
    envelope = _envelope(notification, settings)
    try:
        records = list(envelope.unwrap(_incoming(notification)))
    except Unreadable:
        return
    body = json.dumps(records, ensure_ascii=False).encode("utf-8", "surrogatepass")
    redacted = _redact(body, settings, hide=hide)
    yield _request(notification, settings, redacted, keep_headers=False)


def _request(
    notification: Notification, settings: SourceSettings, body: bytes, *, keep_headers: bool = True
) -> bytes:
    """Return the request as HTTP/1.1, authenticated with the token `hook-token`."""
    headers = _redact_headers(notification.headers, settings) if keep_headers else {}
    token_header = (settings.token_header or "").lower()
    target = f"/hooks/{notification.source}"
    if "authorization" not in headers and token_header not in headers:
        if notification.headers and keep_headers:
            target += f"?token={TOKEN}"
        else:
            headers["authorization"] = f"Bearer {TOKEN}"
            headers.setdefault("content-type", "application/json")
    lines = [f"{notification.method} {target} HTTP/1.1", f"host: {HOST}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"content-length: {len(body)}")
    head = "\r\n".join([*lines, "", ""])
    return head.encode("latin-1", "replace") + body


def _redact_headers(stored: Mapping[str, str], settings: SourceSettings) -> dict[str, str]:
    known_secrets = _known_secrets(settings)
    headers = {}
    for name, value in stored.items():
        lower = name.lower()
        if _OMITTED_HEADERS.fullmatch(lower):
            continue
        if lower == "authorization":
            headers[lower] = f"Bearer {TOKEN}"
        elif lower == (settings.token_header or "").lower():
            headers[lower] = TOKEN
        else:
            line = re.sub(r"[\r\n]+", " ", value)
            clean = _URL_SECRETS.sub(rb"\1redacted", line.encode("latin-1", "replace"))
            text = clean.decode("latin-1")
            for secret in known_secrets:
                text = text.replace(secret, "redacted")
            headers[lower] = text
    return headers


def _redact(body: bytes, settings: SourceSettings, *, hide: bool) -> bytes:
    token = settings.token.get_secret_value() if settings.token else ""
    for secret in _known_secrets(settings):
        replacement = TOKEN if secret == token else "redacted"
        for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
            body = body.replace(form.encode(), replacement.encode())
    body = _URL_SECRETS.sub(rb"\1redacted", body)
    for pattern, replacement_bytes in _ACCOUNT_IDS if hide else ():
        body = pattern.sub(replacement_bytes, body)
    return body


def _known_secrets(settings: SourceSettings) -> list[str]:
    """Return the secrets of the source, longest first. Very short ones would match everywhere."""
    found = (secret for secret in secrets(settings) if len(secret) >= _SHORTEST_SECRET)
    return sorted(found, key=len, reverse=True)


def _test_settings(settings: SourceSettings) -> SourceSettings:
    """Return the settings with the token of all cases and no other credential.

    A case of a signed notification is bare, so `bare` is accepted.
    """
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in SenderSettings.model_fields.items()
        if name not in ("accept", "token_header")
    }
    accept = settings.accept if "bare" in settings.accept else (*settings.accept, "bare")
    return settings.model_copy(update={**defaults, "accept": accept, "token": SecretStr(TOKEN)})


def _parse_request(source: str, raw: bytes) -> Incoming:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    path, _, query = target.partition("?")
    parameters = {"token": TOKEN} if query else {}
    return Incoming(
        source, body, _RECEIVED, method=method, path=path, query=parameters, headers=headers
    )


def _same_result(parsed: ParsedNotification, original: ParsedNotification, *, hide: bool) -> bool:
    if parsed.verdict != original.verdict:
        return False
    if hide:  # A hidden account id may be part of an event's identity.
        return len(parsed.events) == len(original.events)
    return parsed.events == original.events


def _expected(
    notification: Notification, settings: SourceSettings, parsed: ParsedNotification | None
) -> bytes:
    wrapping = ", ".join(notification.envelopes) or "bare"
    expected: Json = {
        "why": f"captured {notification.received:%Y-%m-%d} from a source of kind {settings.kind}: "
        f"{wrapping}, {notification.verdict}",
        "verdict": parsed.verdict.value if parsed else "unverified",
        "events": [_event(event) for event in parsed.events] if parsed else [],
    }
    if parsed and parsed.verdict == "unreadable" and parsed.reason:
        expected["reason"] = parsed.reason
    names = ("key_encoding", "token_header")
    changed = {name: getattr(settings, name) for name in names if name in settings.model_fields_set}
    accept = _test_settings(settings).accept
    if accept != type(settings).model_fields["accept"].default:
        changed["accept"] = accept
    if changed:
        expected["settings"] = changed
    return (json.dumps(expected, indent=2, ensure_ascii=True) + "\n").encode()


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
