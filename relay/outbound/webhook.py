"""One HTTP POST to a channel's URL: what came back is an answer, or an error of the tree.

A channel's URL is a credential: neither it nor its parts are in anything that leaves here.
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
from relay.errors import RelayError, TemporaryFailure, Throttled
from relay.model import Json, Localized
from relay.outbound.responses import cleaned, retry_after, translate
from relay.outbound.session import HttpClientFactory

_SHORTEST_PART = 5


def _check_url(url: SecretStr) -> SecretStr:
    try:
        split = urlsplit(url.get_secret_value())
        fits = split.scheme in ("https", "http") and split.hostname and split.port != 0
    except ValueError:  # its words may repeat a part of the address
        fits = False
    if not fits:
        raise ValueError("the url starts with https:// and names a host")
    return url


PostUrl = Annotated[SecretStr, AfterValidator(_check_url)]
"""The setting `url` of a channel: an address whose parts are a credential."""


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What the other side said. `text`: the start of its body, cleaned, without our secrets.

    `payload`: all of its body where that is a JSON object, without our secrets; else empty.
    """

    status: int
    text: str
    retry_after: timedelta | None = None
    payload: Json = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """Status and text: what an attempt keeps."""
        return f"{self.status} {self.text}".strip()


def redactor_for(url: str, secrets: Iterable[str] = ()) -> Redactor:
    """Return a redactor that hides a URL, short parts of it too, and other secrets."""
    return Redactor((url, *secrets), shortest_part=_SHORTEST_PART)


class Poster:
    """Posts to one URL. Used by many threads at once."""

    def __init__(self, outbound: HttpClientFactory, url: str, secrets: Iterable[str] = ()) -> None:
        """`secrets` are kept out of answers, beside the URL and its parts."""
        self._session = outbound.session(guarded=True)
        self._url = url
        self._redactor = redactor_for(url, secrets)

    def post(
        self, body: bytes, headers: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> WebhookResponse:
        """The answer, whatever its status. `query`: what this post adds to the URL, as secret.

        TemporaryFailure: none came (Ambiguous where the message may have arrived all the same;
        posting again is right even then, for a repeat carries the same id). PermanentFailure:
        the URL leads to where we do not post.
        """
        secrets = tuple((query or {}).values())
        return self._answer("POST", secrets, data=body, headers=headers, params=query)

    def get(self) -> WebhookResponse:
        """What the URL answers when it is only asked. Errors as above, but never Ambiguous."""
        return self._answer("GET")

    def close(self) -> None:
        self._session.close()

    def _answer(self, method: str, secrets: Iterable[str] = (), **asked: Any) -> WebhookResponse:
        try:
            response = self._session.request(method, self._url, **asked)
        except requests.RequestException as error:
            # From None: the exception of requests holds the URL, and a traceback would show it.
            raise translate(error, sent=method == "POST") from None
        text = Redactor(secrets).known(self._redactor.known(response.text))
        return WebhookResponse(
            response.status_code, cleaned(text), retry_after(response), _object(text)
        )


def _object(text: str) -> Json:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def refusal(answer: WebhookResponse) -> RelayError:
    """What a status that means no success means everywhere: waiting would help, and how long.

    A channel that knows better (its service's own refusals) looks at the answer first.
    """
    if answer.status == 429 or (answer.status == 503 and answer.retry_after):
        return Throttled(
            "channel.busy",
            Localized("The channel asks us to wait", "频道要求稍后再发"),
            Localized("Relay posts the message again by itself.", "Relay 会自动重新发送。"),
            answer=answer.summary,
            retry_after=answer.retry_after,
        )
    code, message, hint = _words(answer.status)
    return TemporaryFailure(
        code, message, hint, answer=answer.summary, retry_after=answer.retry_after
    )


def _words(status: int) -> tuple[str, Localized, Localized]:
    if 300 <= status < 400:
        return (
            "channel.moved",
            Localized(
                f"The channel's URL answers with a redirect ({status}), which is not followed",
                f"频道的 URL 返回了重定向（{status}），Relay 不会跟随重定向",
            ),
            Localized(
                "Put the address it has moved to into the channel's url.",
                "请把频道的 url 改为新的地址。",
            ),
        )
    if status >= 500:
        return (
            "channel.down",
            Localized(f"The channel is out of order ({status})", f"频道暂时不可用（{status}）"),
            Localized("Relay posts the message again by itself.", "Relay 会自动重新发送。"),
        )
    return (
        "channel.refused",
        Localized(
            f"The channel did not take the message ({status})", f"频道没有接受该消息（{status}）"
        ),
        Localized(
            "Check the channel's url and secret, and what the receiver logs; "
            "Relay tries again meanwhile.",
            "请检查频道的 url 和 secret 以及接收端日志；其间 Relay 会继续重试。",
        ),
    )
