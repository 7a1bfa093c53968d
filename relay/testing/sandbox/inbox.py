"""The inbox of the demo: receives messages like chat services and shows them on a page.

`POST /slack/...` responds like an incoming webhook of Slack. `POST /webhook/...` verifies the
signature of Standard Webhooks, implemented from the specification and not with Relay's channel.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from flask import Flask, Response, request

from relay.errors import ConfigError
from relay.model import Json, utc_now
from relay.testing.sandbox.faults import Fault
from relay.testing.sandbox.inbox_page import ReceivedMessage, render
from relay.testing.sandbox.server import FaultyServer

MAX_BODY = 1 << 20
MAX_MESSAGES = 10_000
TOLERANCE = timedelta(minutes=5)
CHANNELS = ("slack", "webhook")

_SLACK_ERRORS = {
    400: "invalid_payload",
    403: "action_prohibited",
    404: "no_service",
    410: "channel_is_archived",
    429: "rate_limited",
    500: "rollup_error",
}


@dataclass(kw_only=True, eq=False)
class InboxServer(FaultyServer):
    """The inbox. `webhook_secret` is `whsec_` and base64, or None.

    The `message` of a fault is the response text (such as `channel_is_archived`). The fields
    status, retry_after, delay, drop and times are those of `Fault`.
    """

    operations = CHANNELS

    port: int = 0
    webhook_secret: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    allow_remote: bool = False
    clock: Callable[[], datetime] = utc_now

    def __post_init__(self) -> None:
        super().__init__()
        self._key = read_secret(self.webhook_secret) if self.webhook_secret else None
        self._messages: list[ReceivedMessage] = []
        self._repeats: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def messages(self) -> list[ReceivedMessage]:
        """All received messages, oldest first, including those with an error response."""
        with self._lock:
            return list(self._messages)

    def _application(self) -> Flask:
        app = Flask(__name__, static_folder=None, template_folder=None)
        app.add_url_rule("/", "page", lambda: render(self.messages))
        app.add_url_rule("/messages", "messages", self._list)
        for channel in CHANNELS:
            view = partial(self._receive, channel)
            app.add_url_rule(f"/{channel}/<path:rest>", channel, view, methods=["POST"])
        return app

    def _list(self) -> Response:
        content = json.dumps([message.to_json() for message in self.messages], ensure_ascii=False)
        return Response(content, mimetype="application/json")

    def _receive(self, channel: str, rest: str) -> Response:  # noqa: ARG002 - in the path too
        if (request.content_length or 0) > MAX_BODY:
            return _text("payload_too_large", 413)
        body = request.get_data()
        headers = {name.lower(): value for name, value in request.headers.items()}
        verified = None
        if channel == "webhook" and self._key:
            verified = verify(self._key, headers, body, self.clock())
        fault = self.faults.take(channel)
        response = _fault_response(channel, fault) if fault else _respond(channel, body, verified)
        dropped = fault is not None and fault.resets
        message = ReceivedMessage(
            channel,
            request.path,
            self.clock(),
            headers,
            body.decode("utf-8", "replace"),
            _parse_object(body),
            verified,
            status=None if dropped else response.status_code,
        )
        self._add(message)
        if fault is not None:
            self.stopping.wait(fault.delay)
        if dropped:
            request.environ["wsgi.input"].drop()
        return response

    def _add(self, message: ReceivedMessage) -> None:
        with self._lock:
            if message.webhook_id is not None:
                self._repeats[message.webhook_id] += 1
                message = replace(message, repeat=self._repeats[message.webhook_id])
            self._messages.append(message)
            del self._messages[:-MAX_MESSAGES]


def read_secret(secret: str) -> bytes:
    """Return the key in a `whsec_...` secret. The text of a ConfigError omits the secret."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("webhook_secret", "is not whsec_ and base64") from None


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Verify a Standard Webhooks signature: HMAC-SHA256 over `id.timestamp.body`, 5 min old."""
    id_, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id_ or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    if abs(now.timestamp() - int(stamp)) > TOLERANCE.total_seconds():
        return False
    digest = hmac.digest(key, f"{id_}.{stamp}.".encode() + body, "sha256")
    expected = b"v1," + base64.b64encode(digest)
    signatures = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected, signature.encode()) for signature in signatures)


def _respond(channel: str, body: bytes, verified: bool | None) -> Response:
    if channel == "webhook":
        return _text("signature is wrong", 401) if verified is False else Response(status=204)
    message = _parse_object(body)
    if message is None:
        return _text("invalid_payload", 400)
    if not message.get("text") and not message.get("blocks"):
        return _text("no_text", 400)
    return _text("ok", 200)


def _fault_response(channel: str, fault: Fault) -> Response:
    status = fault.status or 200
    message = fault.message
    if message is None:
        message = _SLACK_ERRORS.get(status, "ok") if channel == "slack" else "simulated failure"
    response = _text(message, status)
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    return response


def _text(content: str, status: int) -> Response:
    return Response(content, status, mimetype="text/plain")


def _parse_object(body: bytes) -> Json | None:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
