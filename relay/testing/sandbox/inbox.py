"""The demo's inbox: receives messages as the chat services do, and shows them on a page.

`POST /slack/...` answers as Slack's incoming webhooks do; `POST /webhook/...` checks the Standard
Webhooks signature (written here from the specification, not from our channel).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self, Unpack

from flask import Flask, Response, request

from relay.errors import ConfigError
from relay.model import Json, utc_now
from relay.testing.sandbox.faults import Fault, FaultFields, FaultQueue, make_fault
from relay.testing.sandbox.inbox_page import render
from relay.testing.sandbox.server import ListenAddress, LoopbackServer

MAX_BODY = 1 << 20
MAX_KEPT = 10_000
TOLERANCE = timedelta(minutes=5)
CHANNELS = ("slack", "webhook")

_SLACK_WORDS = {
    400: "invalid_payload",
    403: "action_prohibited",
    404: "no_service",
    410: "channel_is_archived",
    429: "rate_limited",
    500: "rollup_error",
}


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One request as it was received. Header names in lower case; `json` None: it was none.

    `verified`: whether the signature is right; None where nothing is signed. `repeat` counts the
    messages of the same webhook-id (1: the first). `status`: what was answered; None: a reset.
    """

    channel: str
    path: str
    received: datetime
    headers: Mapping[str, str]
    body: str
    json: Json | None
    verified: bool | None
    repeat: int
    status: int | None

    @property
    def webhook_id(self) -> str | None:
        return self.headers.get("webhook-id")

    def to_json(self) -> Json:
        return asdict(self) | {"received": self.received.isoformat()}


@dataclass(kw_only=True, eq=False)
class InboxServer:
    """Serves at `url` while entered. `webhook_secret`: `whsec_` and base64; None: unsigned."""

    port: int = 0
    webhook_secret: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    allow_remote: bool = False
    clock: Callable[[], datetime] = utc_now

    def __post_init__(self) -> None:
        self._key = read_secret(self.webhook_secret) if self.webhook_secret else None
        self.faults = FaultQueue()
        self._messages: list[ReceivedMessage] = []
        self._repeats: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._server: LoopbackServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Known from start() on."""
        if self._server is None:
            raise RuntimeError("the inbox was not started")
        return self._server.url

    @property
    def messages(self) -> list[ReceivedMessage]:
        """Everything received, the oldest first; also what was answered with an error."""
        with self._guard:
            return list(self._messages)

    def fault(self, **fields: Unpack[FaultFields]) -> Fault:
        """What the next messages are answered: `operation` is slack, webhook or *.

        `message` is the answer's text (such as `channel_is_archived`), and status, retry_after,
        delay, drop and times are as in `Fault`. Raises ConfigError.
        """
        fault = make_fault(fields, CHANNELS)
        self.faults.add(fault)
        return fault

    def start(self) -> None:
        """Raises ConfigError for an address that others can reach, OSError for a port in use."""
        place = ListenAddress(self.host, self.port, self.allow_remote)
        self._server = LoopbackServer(self._application(), place, self._stopping)
        self._server.start()

    def close(self) -> None:
        """Ends connections and threads; the messages stay readable. Safe to repeat."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _application(self) -> Flask:
        app = Flask(__name__, static_folder=None, template_folder=None)
        app.add_url_rule("/", "page", lambda: render(self.messages))
        app.add_url_rule("/messages", "messages", self._list)
        for channel in CHANNELS:
            app.add_url_rule(
                f"/{channel}/<path:rest>", channel, self._receive(channel), methods=["POST"]
            )
        return app

    def _list(self) -> Response:
        told = json.dumps([one.to_json() for one in self.messages], ensure_ascii=False)
        return Response(told, mimetype="application/json")

    def _receive(self, channel: str) -> Callable[..., Response]:
        def view(rest: str) -> Response:  # noqa: ARG001 - the path is read whole from the request
            if (request.content_length or 0) > MAX_BODY:
                return _text("payload_too_large", 413)
            body = request.get_data()
            headers = {name.lower(): value for name, value in request.headers.items()}
            verified = self._verify(headers, body) if channel == "webhook" else None
            fault = self.faults.take(channel)
            answer = _fault_answer(channel, fault) if fault else _answer(channel, body, verified)
            dropped = fault is not None and fault.resets
            self._keep(channel, headers, body, verified, None if dropped else answer.status_code)
            if fault is not None:
                self._stopping.wait(fault.delay)
            if dropped:
                request.environ["wsgi.input"].drop()
            return answer

        return view

    def _verify(self, headers: Mapping[str, str], body: bytes) -> bool | None:
        return verify(self._key, headers, body, self.clock()) if self._key else None

    def _keep(
        self,
        channel: str,
        headers: Mapping[str, str],
        body: bytes,
        verified: bool | None,
        status: int | None,
    ) -> None:
        name = headers.get("webhook-id")
        with self._guard:
            if name is not None:
                self._repeats[name] += 1
            message = ReceivedMessage(
                channel,
                request.path,
                self.clock(),
                headers,
                body.decode("utf-8", "replace"),
                _object(body),
                verified,
                self._repeats[name] if name is not None else 1,
                status,
            )
            self._messages.append(message)
            del self._messages[:-MAX_KEPT]


def read_secret(secret: str) -> bytes:
    """The key in a `whsec_...` secret. Raises ConfigError, without the secret in it."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError("webhook_secret", "is not whsec_ and base64") from None


def verify(key: bytes, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, within five minutes of now."""
    name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not name or not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    if abs(now.timestamp() - int(stamp)) > TOLERANCE.total_seconds():
        return False
    right = hmac.digest(key, f"{name}.{stamp}.".encode() + body, "sha256")
    told = "v1," + base64.b64encode(right).decode()
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(told.encode(), one.encode()) for one in given)


def _answer(channel: str, body: bytes, verified: bool | None) -> Response:
    if channel == "webhook":
        return _text("signature is wrong", 401) if verified is False else Response(status=204)
    message = _object(body)
    if message is None:
        return _text("invalid_payload", 400)
    if not message.get("text") and not message.get("blocks"):
        return _text("no_text", 400)
    return _text("ok", 200)


def _fault_answer(channel: str, fault: Fault) -> Response:
    status = fault.status or 200
    words = fault.message
    if words is None:
        words = _SLACK_WORDS.get(status, "ok") if channel == "slack" else "told to fail"
    answer = _text(words, status)
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = str(fault.retry_after)
    return answer


def _text(words: str, status: int) -> Response:
    return Response(words, status, mimetype="text/plain")


def _object(body: bytes) -> Json | None:
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
