"""The only place where HTTP sessions are made: timeouts, proxies, a guard over where they lead."""

from __future__ import annotations

import email.utils
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, select_proxy
from urllib3 import PoolManager, ProxyManager
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from relay import __version__
from relay.errors import OutcomeUnknown, PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized, utc_now
from relay.outbound.addresses import is_public, meanings
from relay.outbound.connection import ConnectionOptions, pool_classes

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read; the rest is left unread."""

LONGEST_WAIT = timedelta(hours=1)
"""The most that a Retry-After may ask for."""

_POOL = 32
_CONTROL = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class HttpClientFactory:
    """Makes the sessions of targets and channels, and of whatever else talks HTTP.

    `allow_private`: networks inside which a guarded session may connect all the same. Seconds:
    `connect_timeout` for each address tried; `read_timeout` for the whole answer, and for the
    other side to take some bytes of a body.
    """

    def __init__(
        self,
        *,
        allow_private: Sequence[IPNetwork] = (),
        connect_timeout: float = 10,
        read_timeout: float = 120,
        user_agent: str = f"relay/{__version__}",
    ) -> None:
        self.allow_private = tuple(allow_private)
        self.timeout = (connect_timeout, read_timeout)
        self.user_agent = user_agent

    def session(
        self,
        *,
        guarded: bool,
        max_answer: int = MAX_ANSWER,
        reuse: bool = True,
        streams: bool = False,
    ) -> requests.Session:
        """A session for many threads; the caller closes it.

        `guarded` refuses to talk to addresses that are not public (PermanentFailure
        `outbound.private`): for URLs that somebody else wrote. No redirect is followed, nothing is
        repeated, no cookie kept, and no more than `max_answer` bytes of an answer are read. Without
        `reuse` every request has a connection of its own, which cannot have gone stale in a pool.
        With `streams` a success is left unread, of any length: the caller reads and closes it.
        """
        session = _Session(self.timeout, max_answer, streams=streams)
        session.headers["User-Agent"] = self.user_agent
        if not reuse:
            session.headers["Connection"] = "close"
        guard = self.guard if guarded else None
        adapter = _Adapter(ConnectionOptions(self.timeout[1], guard, reuse, streams))
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def guard(self, host: str, address: str) -> None:
        """Raises PermanentFailure `outbound.private` where the address is neither public nor
        allowed; `host` is how it was called."""
        ip = ipaddress.ip_address(address)
        if is_public(ip) or any(one in net for one in meanings(ip) for net in self.allow_private):
            return
        raise PermanentFailure(
            "outbound.private",
            Localized(
                f"{host} leads to {address}, which is not a public address",
                f"{host} 指向 {address}，这不是公网地址",
            ),
            Localized(
                "If that is meant, add its network to allow_private under [outbound].",
                "如确需访问，请把该网段加入 [outbound] 的 allow_private。",
            ),
        )


def translate(error: requests.RequestException, *, sent: bool) -> RelayError:
    """The error of our tree for one of requests'.

    `sent`: the call changes something, and the whole of it may have gone out: then an answer that
    was lost is Ambiguous. A certificate that cannot be verified is a TemporaryFailure: nothing was
    sent, and most are expired ones or a missing CA, which get repaired while the delivery waits.
    """
    host = _host_of(error)
    if isinstance(error, ValueError) and not isinstance(error, requests.JSONDecodeError):
        return PermanentFailure(
            "outbound.url",
            Localized(
                "The address is not a valid http or https URL", "地址不是有效的 http 或 https URL"
            ),
            Localized("Correct the URL in relay.toml.", "请修正 relay.toml 中的 URL。"),
        )
    causes = tuple(_causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return TemporaryFailure(
            "outbound.certificate",
            Localized(
                f"The TLS certificate of {host} is not trusted", f"{host} 的 TLS 证书不受信任"
            ),
            Localized(
                "Renew it there, or name its CA in REQUESTS_CA_BUNDLE; check this machine's clock.",
                "请更新对方证书，或通过 REQUESTS_CA_BUNDLE 指定其 CA，并检查本机时钟。",
            ),
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return TemporaryFailure(
            "outbound.proxy",
            Localized(f"The proxy did not lead to {host}", f"代理未能连通 {host}"),
            Localized("Check HTTPS_PROXY and NO_PROXY.", "请检查 HTTPS_PROXY 与 NO_PROXY。"),
        )
    never = (ConnectTimeoutError, NewConnectionError)
    if any(isinstance(cause, never) for cause in causes):
        return TemporaryFailure(
            "outbound.unreachable",
            Localized(f"{host} cannot be reached", f"无法连接 {host}"),
            Localized("Check its name, the network and firewalls.", "请检查主机名、网络与防火墙。"),
        )
    if sent:
        return OutcomeUnknown(
            "outbound.answer_lost",
            Localized(f"The answer of {host} was lost", f"{host} 的应答丢失"),
            Localized("It may have happened all the same.", "操作可能已经生效。"),
        )
    return TemporaryFailure(
        "outbound.interrupted",
        Localized(f"The connection to {host} broke", f"与 {host} 的连接中断"),
        Localized("Nothing was changed; Relay tries again.", "未产生任何变更，Relay 会重试。"),
    )


def excerpt(response: requests.Response, limit: int = 300) -> str:
    """The beginning of an answer's text on one line, without control characters."""
    return cleaned(response.text, limit)


def cleaned(text: str, limit: int = 300) -> str:
    """Foreign text made fit to show: one line, no control or direction characters, cut short."""
    line = _CONTROL.sub(" ", text[: limit * 4]).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def retry_after(response: requests.Response, now: datetime | None = None) -> timedelta | None:
    """What Retry-After asks for (seconds or an HTTP date, RFC 9110 §10.2.3), at most an hour.

    None when it is absent, unreadable or already over.
    """
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        wait = timedelta(seconds=int(value))
    else:
        try:
            until = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        wait = until - (now or utc_now())
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None


class _Session(requests.Session):
    def __init__(self, timeout: tuple[float, float], max_answer: int, *, streams: bool) -> None:
        super().__init__()
        self._timeout = timeout
        self._max_answer = max_answer
        self._streams = streams
        # Else requests looks into ~/.netrc and overwrites our Authorization with what it finds.
        self.auth = _auth_of_url
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["Accept-Encoding"] = "identity"
        self._merged: dict[Any, Any] = {}

    def merge_environment_settings(self, url: Any, *given: Any) -> Any:
        # Reading the environment is a tenth of a small call: once for each place will do.
        if any(given):
            return super().merge_environment_settings(url, *given)
        if (place := urlsplit(url)[:2]) not in self._merged:
            self._merged[place] = super().merge_environment_settings(url, *given)
        return self._merged[place]

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        response = super().send(request, **{**kwargs, "stream": True, "allow_redirects": False})
        if self._streams and 200 <= response.status_code < 300:
            return response
        try:
            # So that .text, .json() and .content are bounded, whoever calls them.
            response._content = self._read(response)
            response._content_consumed = True  # type: ignore[attr-defined]
        finally:
            response.close()
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None  # else requests reads a redirect's whole body, however big

    def _read(self, response: requests.Response) -> bytes:
        read = bytearray()
        try:
            for part in response.iter_content(16 * 1024):
                read += part
                if len(read) > self._max_answer:
                    response.raw.close()  # what is left unread must not meet the next request
                    break
        except requests.RequestException:
            response.raw.close()
            if response.ok:
                raise
            # A refusal stays one, even when the reset behind it swallowed its text.
        return bytes(read[: self._max_answer])


class _Adapter(HTTPAdapter):
    def __init__(self, manners: ConnectionOptions) -> None:
        self._guard = manners.guard
        self._pools = pool_classes(manners)
        super().__init__(pool_connections=_POOL, pool_maxsize=_POOL, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._use_our_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if type(manager) is ProxyManager:
            self._use_our_pools(manager)
        return manager

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        if self._guard and select_proxy(request.url or "", kwargs.get("proxies")):
            # The proxy connects, not we: all that can be looked at here is what the name says.
            for address in _addresses(urlsplit(request.url or "").hostname or ""):
                self._guard(urlsplit(request.url or "").hostname or "", address)
        return super().send(request, *args, **kwargs)

    def _use_our_pools(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


def _auth_of_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


def _addresses(host: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []  # only the proxy knows this name


def _host_of(error: requests.RequestException) -> str:
    try:
        url = error.request.url if error.request is not None else ""
        return urlsplit(url or "").hostname or "the other side"
    except ValueError:
        return "the other side"


def _causes(error: BaseException) -> Iterator[object]:
    """What lies under an exception of requests: urllib3 keeps it in `reason`, others in `args`."""
    seen: list[object] = []
    waiting: list[object] = [error]
    while waiting and len(seen) < 20:
        one = waiting.pop()
        if not isinstance(one, BaseException) or one in seen:
            continue
        seen.append(one)
        yield one
        waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
