"""HTTP sessions, created only here: timeouts, size limits, proxies, and a guard against SSRF."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url, select_proxy
from urllib3 import PoolManager

from relay import __version__
from relay.errors import PermanentFailure
from relay.model import Localized
from relay.outbound.addresses import effective_addresses, is_public
from relay.outbound.connection import ConnectionOptions, checked_pools
from relay.outbound.connection_problems import Causes
from relay.outbound.final_response import NOT_CONNECTED
from relay.outbound.surroundings import check_ca_file, check_proxy

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_RESPONSE = 64 * 1024
"""Bytes of a response body that are read by default; the rest stays unread."""

_POOL = 32

_FOREIGN = (urllib3.exceptions.HTTPError, http.client.HTTPException, UnicodeError, OSError)
"""Exceptions that `requests` lets through: an invalid host name, a missing CA file."""


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

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """Raise RequestException, RelayError, or what the body raises; no other exceptions."""
        try:
            return super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            error.request = error.request or requests.Request(method, url)
            raise
        except _FOREIGN as error:
            raise requests.RequestException(error, request=requests.Request(method, url)) from error

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
        self._options = options
        super().__init__(pool_connections=_POOL, pool_maxsize=_POOL, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._use_our_connections(self.poolmanager, self._options)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy not in self.proxy_manager:
            # The proxy is the operator's choice: its address may be private.
            unguarded = replace(self._options, guard=None)
            self._use_our_connections(super().proxy_manager_for(proxy, **kwargs), unguarded)
        return self.proxy_manager[proxy]

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        url = request.url or ""
        self._check_surroundings(url, verify, select_proxy(url, proxies))
        try:
            return super().send(request, stream, timeout, verify, cert, proxies)
        except requests.exceptions.SSLError as error:
            if isinstance(verify, str) and Causes(error).have_note(NOT_CONNECTED):
                check_ca_file(verify)
            raise

    def _check_surroundings(self, url: str, verify: bool | str, proxy: str | None) -> None:
        if isinstance(verify, str) and not Path(verify).exists():
            check_ca_file(verify)
        if proxy:
            check_proxy(url, proxy)
        if proxy and self._options.guard:
            # The proxy opens the connection, so only the local resolution can be checked.
            host = urlsplit(url).hostname or ""
            for address in _resolve(host):
                self._options.guard(host, address)

    @staticmethod
    def _use_our_connections(manager: PoolManager, options: ConnectionOptions) -> None:
        manager.pool_classes_by_scheme = checked_pools(manager.pool_classes_by_scheme, options)


def _auth_from_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


def _resolve(host: str) -> list[str]:
    try:
        return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None)]
    except (OSError, UnicodeError):
        return []  # only the proxy can resolve this name
