"""Who asks: nobody in particular, or somebody with a bearer token that is renewed before it ends.

Wire format of token endpoints: RFC 6749 §4.4, §5.1, §5.2 (OAuth 2.0), which Google, Entra and both
clouds' metadata services speak.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Protocol

import requests

from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized, utc_now
from relay.outbound.responses import cleaned, retry_after, translate
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import CachedCredential, Clock, ExpiringValue

CONNECT, READ = 5.0, 20.0
METADATA_CONNECT, METADATA_READ = 1.0, 5.0
"""Seconds. Where there is no metadata service, packets to its address vanish."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


class Credential(Protocol):
    """What proves who asks. For many threads."""

    def sign(self, request: requests.PreparedRequest) -> None:
        """Puts the proof into a request that is ready otherwise. Raises errors of the tree."""

    def renew(self, request: requests.PreparedRequest) -> bool:
        """Told of a request that was not believed (401): whether there is another proof now."""


class Anonymous:
    """No proof at all."""

    def sign(self, request: requests.PreparedRequest) -> None:
        del request

    def renew(self, request: requests.PreparedRequest) -> bool:
        del request
        return False


class Bearer:
    """A token (RFC 6750), fetched by one thread for all, again before it ends or when refused."""

    def __init__(self, fetch: Callable[[], ExpiringValue[str]], clock: Clock = utc_now) -> None:
        self._token = CachedCredential(fetch, clock)

    def sign(self, request: requests.PreparedRequest) -> None:
        request.headers["Authorization"] = f"Bearer {self._token.get()}"

    def renew(self, request: requests.PreparedRequest) -> bool:
        stale = str(request.headers.get("Authorization", "")).removeprefix("Bearer ")
        return self._token.renew(stale) != stale


def request_token(url: str, form: Mapping[str, str], who: str) -> ExpiringValue[str]:
    """The token that a token endpoint grants for a form. `who` names it in errors."""
    outbound = HttpClientFactory(connect_timeout=CONNECT, read_timeout=READ)
    with outbound.session(guarded=False, reuse=False) as session:
        try:
            answer = session.post(url, data=dict(form))
        except requests.RequestException as error:
            raise translate(error, sent=False) from error
    return parse_token(answer, who)


def fetch_metadata_token(url: str, headers: Mapping[str, str], who: str) -> ExpiringValue[str]:
    """The token that the cloud's metadata service gives to the machine that Relay runs on."""
    outbound = HttpClientFactory(connect_timeout=METADATA_CONNECT, read_timeout=METADATA_READ)
    with outbound.session(guarded=False, reuse=False) as session:
        session.trust_env = False  # its address means this machine: never through a proxy
        try:
            answer = session.get(url, headers=dict(headers))
        except requests.RequestException as error:
            raise TemporaryFailure(
                "storage.no_machine_identity",
                Localized(f"{who} did not answer", f"{who} 无应答"),
                Localized(
                    "Only machines in that cloud have one. Elsewhere, configure credentials, or "
                    "anonymous = true for a public bucket or an emulator.",
                    "只有该云中的机器才有元数据服务。在其他环境请配置凭证；"
                    "公开存储桶或模拟器请设置 anonymous = true。",
                ),
            ) from error
    return parse_token(answer, who)


def parse_token(answer: requests.Response, who: str) -> ExpiringValue[str]:
    """The token in such an answer; else TemporaryFailure, or PermanentFailure when refused."""
    try:
        found = answer.json()
    except (requests.JSONDecodeError, RecursionError):
        found = None
    found = found if isinstance(found, dict) else {}
    if answer.status_code != 200:
        raise _not_granted(answer, found, who)
    token, life = found.get("access_token"), _seconds(found.get("expires_in"))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise TemporaryFailure(
            "storage.no_token", Localized(f"{who} gave no token", f"{who} 未返回令牌")
        )
    return ExpiringValue(token, life)


def _seconds(value: Any) -> timedelta | None:
    """Some send the number as a text."""
    text = str(value)
    return timedelta(seconds=int(text)) if re.fullmatch("[0-9]{1,9}", text) else None


def _not_granted(answer: requests.Response, found: Mapping[str, Any], who: str) -> RelayError:
    told = " ".join(str(found[name]) for name in ("error", "error_description") if name in found)
    told = cleaned(f"{answer.status_code} {told}".strip(), 200)
    message = Localized(f"{who} gives no token ({told})", f"{who} 未授予令牌（{told}）")
    if answer.status_code in (408, 429) or answer.status_code >= 500:
        return TemporaryFailure("storage.no_token", message, retry_after=retry_after(answer))
    return PermanentFailure(
        "storage.no_token",
        message,
        Localized(
            "Check the source's credentials and this machine's clock.",
            "请检查该来源的凭证与本机时钟。",
        ),
    )
