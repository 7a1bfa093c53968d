"""Credentials of HTTP requests: anonymous, or a bearer token that is renewed before it expires.

Wire format of token endpoints: RFC 6749 §4.4, §5.1, §5.2 (OAuth 2.0), which Google, Entra and the
metadata services of both clouds implement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import requests

from relay.config.text import excerpt
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized, utc_now
from relay.outbound.responses import retry_after, translate
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import CachedCredential, Clock, ExpiringValue

CONNECT, READ = 5.0, 20.0
METADATA_CONNECT, METADATA_READ = 1.0, 5.0
"""Timeouts in seconds. Outside a cloud, packets to the metadata address get no response."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


class Credential(Protocol):
    """Authenticates requests. Thread-safe."""

    def sign(self, request: requests.PreparedRequest) -> None:
        """Add the credential to a prepared request. Raises errors of Relay's tree."""

    def renew(self, request: requests.PreparedRequest) -> bool:
        """Called after a 401: whether another credential is available now."""


class Anonymous:
    """No credential."""

    def sign(self, request: requests.PreparedRequest) -> None:
        del request

    def renew(self, request: requests.PreparedRequest) -> bool:
        del request
        return False


class Bearer:
    """A bearer token (RFC 6750), fetched again before it expires or when it is refused."""

    def __init__(self, fetch: Callable[[], ExpiringValue[str]], clock: Clock = utc_now) -> None:
        self._token = CachedCredential(fetch, clock)

    def sign(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {self._token.get()}"

    def renew(self, request: requests.PreparedRequest) -> bool:
        refused = str(request.headers.get("Authorization", "")).removeprefix("Bearer ")
        return self._token.renew(refused) != refused


def request_token(url: str, form: Mapping[str, str], issuer: str) -> ExpiringValue[str]:
    """Post a form to a token endpoint and return the token. `issuer` names it in errors."""
    outbound = HttpClientFactory(connect_timeout=CONNECT, read_timeout=READ)
    with outbound.session(guarded=False, reuse=False) as session:
        try:
            response = session.post(url, data=dict(form))
        except requests.RequestException as error:
            raise translate(error, sent=False) from error
    return parse_token(response, issuer)


def fetch_metadata_token(url: str, headers: Mapping[str, str], issuer: str) -> ExpiringValue[str]:
    """Get the token of this machine from the metadata service of the cloud."""
    outbound = HttpClientFactory(connect_timeout=METADATA_CONNECT, read_timeout=METADATA_READ)
    with outbound.session(guarded=False, reuse=False) as session:
        session.trust_env = False  # the address is local to the machine: no proxy
        try:
            response = session.get(url, headers=dict(headers))
        except requests.RequestException as error:
            raise TemporaryFailure(
                "storage.no_machine_identity",
                Localized(f"{issuer} did not respond", f"{issuer} 无响应"),
                Localized(
                    "Only machines in that cloud have a metadata service. Elsewhere, configure "
                    "credentials, or set anonymous = true for a public bucket or an emulator.",
                    "只有该云中的机器才有元数据服务。在其他环境请配置凭证；"
                    "公开存储桶或模拟器请设置 anonymous = true。",
                ),
            ) from error
    return parse_token(response, issuer)


def parse_token(response: requests.Response, issuer: str) -> ExpiringValue[str]:
    """Read the token in a response of a token endpoint.

    TemporaryFailure when there is none, PermanentFailure when the request is refused.
    """
    try:
        body = response.json()
    except (requests.JSONDecodeError, RecursionError):
        body = None
    body = body if isinstance(body, dict) else {}
    if response.status_code != 200:
        raise _refusal(response, body, issuer)
    token = body.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TemporaryFailure(
            "storage.no_token",
            Localized(f"The response of {issuer} has no token", f"{issuer} 的响应中没有令牌"),
        )
    return ExpiringValue(token, _lifetime(body.get("expires_in")))


def _lifetime(seconds: Any) -> timedelta | None:
    """Some endpoints send the number as text."""
    text = str(seconds)
    return timedelta(seconds=int(text)) if re.fullmatch("[0-9]{1,9}", text) else None


def _refusal(response: requests.Response, body: Mapping[str, Any], issuer: str) -> RelayError:
    details = " ".join(str(body[name]) for name in ("error", "error_description") if name in body)
    details = excerpt(f"{response.status_code} {details}".strip(), 200)
    message = Localized(
        f"{issuer} refused a token ({details})", f"{issuer} 未授予令牌（{details}）"
    )
    if response.status_code in (408, 429) or response.status_code >= 500:
        return TemporaryFailure("storage.no_token", message, retry_after=retry_after(response))
    return PermanentFailure(
        "storage.no_token",
        message,
        Localized(
            "Check the source's credentials and the clock of this machine.",
            "请检查该来源的凭证与本机时钟。",
        ),
    )
