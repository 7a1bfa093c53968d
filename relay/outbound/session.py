"""HTTP sessions, created only here: timeouts, size limits, proxies, and a guard against SSRF."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, select_proxy
from urllib3 import PoolManager, ProxyManager

from relay import __version__
from relay.errors import PermanentFailure
from relay.model import Localized
from relay.outbound.addresses import effective_addresses, is_public
from relay.outbound.connection import ConnectionOptions, pool_classes

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_RESPONSE = 64 * 1024
"""Bytes of a response body that are read by default; the rest stays unread."""

_POOL = 32


class HttpClientFactory:
    """Creates HTTP sessions for targets, channels and storages.

    `allow_private`: private networks that a guarded session can connect to.
    `connect_timeout`: seconds for each address that is tried. `read_timeout`: seconds for the
    whole response, and for the server to accept more bytes of a request body.
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
        max_response: int = MAX_RESPONSE,
        reuse: bool = True,
        streams: bool = False,
    ) -> requests.Session:
        """Create a thread-safe session; the caller closes it.

        Sessions follow no redirects, never repeat a request, keep no cookies, and read at most
        `max_response` bytes of a response body.
        `guarded`: refuse addresses that are not public (PermanentFailure `outbound.private`); for
        URLs that come from users. `reuse=False`: open a new connection for each request, because
        a pooled connection can be stale. `streams`: leave the body of a successful response
        unread, of any length; the caller reads it and closes the response.
        """
        session = _Session(self.timeout, max_response, streams=streams)
        session.headers["User-Agent"] = self.user_agent
        if not reuse:
            session.headers["Connection"] = "close"
        guard = self.guard if guarded else None
        adapter = _Adapter(ConnectionOptions(self.timeout[1], guard, reuse, streams))
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session

    def guard(self, host: str, address: str) -> None:
        """Raise PermanentFailure `outbound.private` if `address` is neither public nor allowed.

        `host` is the name that resolved to the address; the error names it.
        """
        ip = ipaddress.ip_address(address)
        if is_public(ip) or any(
            effective in network
            for effective in effective_addresses(ip)
            for network in self.allow_private
        ):
            return
        raise PermanentFailure(
            "outbound.private",
            Localized(
                f"{host} resolves to {address}, which is not a public address",
                f"{host} 解析为 {address}，该地址不是公网地址",
            ),
            Localized(
                "To allow it, add its network to allow_private under [outbound].",
                "如需访问，请把该网段加入 [outbound] 的 allow_private。",
            ),
        )


class _Session(requests.Session):
    def __init__(self, timeout: tuple[float, float], max_response: int, *, streams: bool) -> None:
        super().__init__()
        self._timeout = timeout
        self._max_answer = max_response
        self._streams = streams
        # Without an auth, requests reads ~/.netrc and overwrites our Authorization header.
        self.auth = _auth_from_url
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.headers["Accept-Encoding"] = "identity"
        self._environment_settings: dict[Any, Any] = {}

    def merge_environment_settings(self, url: Any, *overrides: Any) -> Any:
        # Reading the environment takes a tenth of the time of a small request, so the result is
        # kept for each scheme and host.
        if any(overrides):
            return super().merge_environment_settings(url, *overrides)
        if (origin := urlsplit(url)[:2]) not in self._environment_settings:
            merged = super().merge_environment_settings(url, *overrides)
            self._environment_settings[origin] = merged
        return self._environment_settings[origin]

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        response = super().send(request, **{**kwargs, "stream": True, "allow_redirects": False})
        if self._streams and 200 <= response.status_code < 300:
            return response
        try:
            # Set the content here, so that .text, .json() and .content are bounded.
            response._content = self._read(response)
            response._content_consumed = True  # type: ignore[attr-defined]
        finally:
            response.close()
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        return None  # otherwise requests reads the whole body of a redirect, however long

    def _read(self, response: requests.Response) -> bytes:
        body = bytearray()
        try:
            for chunk in response.iter_content(16 * 1024):
                body += chunk
                if len(body) > self._max_answer:
                    # Unread bytes must not be taken for the response to the next request.
                    response.raw.close()
                    break
        except requests.RequestException:
            response.raw.close()
            if response.ok:
                raise
            # The status of an error response is known, even if a reset cut the text.
        return bytes(body[: self._max_answer])


class _Adapter(HTTPAdapter):
    def __init__(self, options: ConnectionOptions) -> None:
        self._guard = options.guard
        self._pools = pool_classes(options)
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
            # The proxy opens the connection, so only the local resolution can be checked.
            host = urlsplit(request.url or "").hostname or ""
            for address in _resolve(host):
                self._guard(host, address)
        return super().send(request, *args, **kwargs)

    def _use_our_pools(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = self._pools


def _auth_from_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


def _resolve(host: str) -> list[str]:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []  # only the proxy can resolve this name
