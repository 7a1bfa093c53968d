"""WebhookResponse and Poster: POST requests to the URL of a channel.

The URL is a credential: neither the URL nor parts of it appear in results or errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

import requests
from pydantic import AfterValidator, SecretStr

from relay.config.redaction import Redactor
from relay.config.text import excerpt
from relay.config.validators import host_name
from relay.errors import RelayError, TemporaryFailure, Throttled
from relay.model import Json, Localized
from relay.outbound.responses import retry_after, translate
from relay.outbound.session import HttpClientFactory

RETRIED = Localized("Relay posts the message again later.", "Relay 稍后会自动重新发送。")

_SHORTEST_PART = 5


def _check_url(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        is_valid = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:  # not re-raised: the message can repeat a part of the URL
        is_valid = False
    if not is_valid:
        raise ValueError("the url starts with https:// and names a host")
    host_name(parts.hostname or "")
    return url


PostUrl = Annotated[SecretStr, AfterValidator(_check_url)]
"""The setting `url` of a channel. Every part of the URL is secret."""


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """A response without secrets.

    `text`: the start of the body on a single line. `payload`: the whole body of a JSON object,
    else empty.
    """

    status: int
    text: str
    retry_after: timedelta | None = None
    payload: Json = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """Status and text, as stored with an attempt."""
        return f"{self.status} {self.text}".strip()


def redactor_for(url: str, secrets: Iterable[str] = ()) -> Redactor:
    """Return a redactor that hides a URL, short parts of it too, and other secrets."""
    return Redactor((url, *secrets), shortest_part=_SHORTEST_PART)


class Poster:
    """Posts to a URL. Thread-safe."""

    def __init__(self, outbound: HttpClientFactory, url: str, secrets: Iterable[str] = ()) -> None:
        """Responses contain neither the URL, nor parts of it, nor any of `secrets`."""
        self._session = outbound.session(guarded=True)
        self._url = url
        self._redactor = redactor_for(url, secrets)

    def post(
        self, body: bytes, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> WebhookResponse:
        """Return the response with any status. `query` adds secret parameters to the URL.

        TemporaryFailure without a response; OutcomeUnknown if the message may have arrived.
        Posting again is safe then, because a repeated message has the same id. PermanentFailure
        when posting to the address is not allowed.
        """
        secrets = tuple((query or {}).values())
        return self._send("POST", secrets, data=body, headers=headers, params=query)

    def get(self) -> WebhookResponse:
        """Return the response to a GET. Raises as `post`, but never OutcomeUnknown."""
        return self._send("GET")

    def close(self) -> None:
        self._session.close()

    def _send(self, method: str, secrets: Iterable[str] = (), **options: Any) -> WebhookResponse:
        try:
            response = self._session.request(method, self._url, **options)
        except requests.RequestException as error:
            # `from None`: the exception contains the URL, and a traceback would show it.
            raise translate(error, sent=method == "POST") from None
        text = Redactor(secrets).known(self._redactor.known(response.text))
        return WebhookResponse(
            response.status_code, excerpt(text), retry_after(response), _read_object(text)
        )


def _read_object(text: str) -> Json:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def refusal(response: WebhookResponse) -> RelayError:
    """Return the error of a status other than success, as HTTP defines it.

    Channels of a service with own error codes check those first.
    """
    if response.status == 429 or (response.status == 503 and response.retry_after):
        return Throttled(
            "channel.busy",
            Localized("The channel limits the rate of messages", "频道限制了消息发送频率"),
            RETRIED,
            answer=response.summary,
            retry_after=response.retry_after,
        )
    code, message, hint = _describe(response.status)
    return TemporaryFailure(
        code, message, hint, answer=response.summary, retry_after=response.retry_after
    )


def _describe(status: int) -> tuple[str, Localized, Localized]:
    """The error code, message and hint of a status."""
    if 300 <= status < 400:
        return (
            "channel.moved",
            Localized(
                f"The channel's URL returned a redirect ({status}), which Relay does not follow",
                f"频道的 URL 返回了重定向（{status}），Relay 不会跟随重定向",
            ),
            Localized("Set the channel's url to the new address.", "请把频道的 url 改为新的地址。"),
        )
    if status >= 500:
        return (
            "channel.down",
            Localized(
                f"The channel is temporarily unavailable ({status})",
                f"频道暂时不可用（{status}）",
            ),
            RETRIED,
        )
    return (
        "channel.refused",
        Localized(f"The channel refused the message ({status})", f"频道拒绝了该消息（{status}）"),
        Localized(
            "Check the channel's url and secret, and the log of the receiver. "
            "Relay keeps retrying meanwhile.",
            "请检查频道的 url 和 secret 以及接收端日志；其间 Relay 会继续重试。",
        ),
    )
