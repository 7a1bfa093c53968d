"""Explains exceptions of HTTP clients: why a request could not be sent, and what is to blame."""

from __future__ import annotations

import http.client
import os
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import (
    ConnectTimeoutError,
    LocationParseError,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
)

from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.final_response import NOT_CONNECTED
from relay.outbound.surroundings import is_host, proxy_variable

E = TypeVar("E", bound=BaseException)

_MAX_CAUSES = 30
_PORTS = {"http": 80, "https": 443}
_PLAIN_PORT = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG")
"""The reasons in OpenSSL for a first response that is not TLS."""

_TLS_ALERT = "\x15\x03"
_INVALID_LABEL = re.compile(r"^'([^']{1,300})', label")
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})")

_CHECK_NETWORK = Localized(
    "Check the host name, the network and firewalls.", "请检查主机名、网络与防火墙。"
)


@dataclass(frozen=True, slots=True)
class _Server:
    url: str
    host: str
    address: str


Explanation = Callable[["Causes", _Server], RelayError | None]


class Causes:
    """An exception and everything that it was raised from."""

    def __init__(self, error: BaseException) -> None:
        self._all = tuple(_causes(error))

    def __iter__(self) -> Iterator[BaseException]:
        return iter(self._all)

    def find(self, *kinds: type[E]) -> E | None:
        return next((cause for cause in self._all if isinstance(cause, kinds)), None)

    def have_note(self, *notes: str) -> bool:
        return any(note in getattr(cause, "__notes__", ()) for cause in self._all for note in notes)


def connection_problem(causes: Causes, url: str) -> RelayError | None:
    """Return the error for a request that cannot have reached a server, or None.

    The error names the host and port of the URL, and nothing else of it.
    """
    server = _server(url) if url else _server_of_connection(causes)
    return next(filter(None, (explain(causes, server) for explain in _EXPLANATIONS)), None)


def host_of(url: str) -> str:
    return _server(url).host


def _server(url: str) -> _Server:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        host, port = "", None
    if not host:
        return _Server(url, "the server", "the server")
    return _Server(url, host, _address(host, port))


def _server_of_connection(causes: Causes) -> _Server:
    """The server, or the proxy, that a connection could not be made to."""
    error = causes.find(ConnectTimeoutError)
    connection: Any = getattr(error, "conn", None) or (error.args[0] if error else None)
    host = getattr(connection, "host", None)
    if not isinstance(host, str):
        return _server("")
    return _Server("", host, _address(host, getattr(connection, "port", None)))


def _address(host: str, port: object) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def _invalid_request(causes: Causes, server: _Server) -> RelayError | None:
    if causes.find(requests.exceptions.InvalidHeader) or any(
        isinstance(cause, UnicodeEncodeError) and cause.encoding in ("latin-1", "ascii")
        for cause in causes
    ):
        return PermanentFailure(
            "outbound.header",
            Localized(
                f"A header of the request to {server.host} has characters that HTTP does not allow",
                f"发往 {server.host} 的请求头含有 HTTP 不允许的字符",
            ),
            Localized(
                "Check the keys, tokens and names in relay.toml for stray characters.",
                "请检查 relay.toml 中的密钥、令牌与名称是否含有多余字符。",
            ),
        )
    if not causes.find(LocationValueError, UnicodeError) and not _is_invalid_url(causes):
        return None
    host = _invalid_host(causes, server)
    message = Localized(
        "The address is not a valid http or https URL", "地址不是有效的 http 或 https URL"
    )
    if host:
        message = Localized(
            f"The host name {host} is invalid: a label is empty or has over 63 characters",
            f"主机名 {host} 无效：其中某一段为空或超过 63 个字符",
        )
    return PermanentFailure(
        "outbound.url",
        message,
        Localized(
            "Correct the URL in relay.toml; with addressing_style = virtual, the bucket is a part"
            " of the host name.",
            "请修正 relay.toml 中的 URL；addressing_style = virtual 时，存储桶名是主机名的一部分。",
        ),
    )


def _invalid_host(causes: Causes, server: _Server) -> str:
    error = causes.find(LocationParseError)
    found = _INVALID_LABEL.search(error.location) if error else None
    if found:
        return found[1]
    return "" if server.url == "" or is_host(server.host) else server.host


def _is_invalid_url(causes: Causes) -> bool:
    first = next(iter(causes))
    return (
        isinstance(first, requests.RequestException)
        and isinstance(first, ValueError)
        and not isinstance(first, requests.JSONDecodeError)
    )


def _untrusted_certificate(causes: Causes, server: _Server) -> RelayError | None:
    error = causes.find(ssl.SSLCertVerificationError)
    if error is None:
        return None
    detail = f" ({error.verify_message})" if getattr(error, "verify_message", "") else ""
    return TemporaryFailure(
        "outbound.certificate",
        Localized(
            f"The TLS certificate of {server.host} is not trusted{detail}",
            f"{server.host} 的 TLS 证书不受信任{detail}",
        ),
        Localized(
            "Renew the certificate of the server, or set REQUESTS_CA_BUNDLE (for S3 and SQS: "
            "AWS_CA_BUNDLE) to the CA. Check the clock of this machine.",
            "请更新服务器证书，或通过 REQUESTS_CA_BUNDLE（S3 与 SQS 使用 AWS_CA_BUNDLE）"
            "指定其 CA，并检查本机时钟。",
        ),
    )


def _proxy(causes: Causes, server: _Server) -> RelayError | None:
    if not causes.find(ProxyError, requests.exceptions.ProxyError):
        return None
    name = proxy_variable(server.url)
    refused = next(filter(None, (_TUNNEL.search(str(cause)) for cause in causes)), None)
    if refused:
        message = Localized(
            f"The proxy ({name}) refused a connection to {server.address} ({refused[1]})",
            f"代理（{name}）拒绝连接 {server.address}（{refused[1]}）",
        )
    elif unreachable := _unreachable(causes, _server_of_connection(causes)):
        message = Localized(
            f"The proxy in {name} is not available: {unreachable.en}",
            f"{name} 中的代理不可用：{unreachable.zh}",
        )
    else:
        message = Localized(
            f"The proxy ({name}) cannot connect to {server.address}",
            f"代理（{name}）无法连接 {server.address}",
        )
    return TemporaryFailure(
        "outbound.proxy",
        message,
        Localized(f"Check {name} and NO_PROXY.", f"请检查 {name} 与 NO_PROXY。"),
    )


def _not_reached(causes: Causes, server: _Server) -> RelayError | None:
    message = _unreachable(causes, server)
    if message is None:
        return None
    hint = _CHECK_NETWORK
    if causes.find(ConnectionRefusedError):
        hint = Localized(
            "Nothing listens there, or a firewall rejects it: check host and port, and whether the"
            " server runs.",
            "该端口没有服务监听，或被防火墙拒绝：请检查主机与端口，并确认服务已启动。",
        )
    return TemporaryFailure("outbound.unreachable", message, hint)


def _unreachable(causes: Causes, server: _Server) -> Localized | None:
    """Why no connection was made."""
    error = causes.find(NewConnectionError) or causes.find(ConnectTimeoutError)
    if error is None:
        return None
    if causes.find(NameResolutionError):
        return Localized(
            f"The host name {server.host} cannot be resolved", f"无法解析主机名 {server.host}"
        )
    address = server.address
    if causes.find(ConnectionRefusedError):
        return Localized(f"{address} refused the connection", f"{address} 拒绝连接")
    if not isinstance(error, NewConnectionError):
        return Localized(
            f"{address} did not accept a connection in time", f"{address} 未在时限内接受连接"
        )
    reason = next((c for c in causes if isinstance(c, OSError) and c.errno), None)
    words = f" ({os.strerror(reason.errno)})" if reason and reason.errno else ""
    return Localized(f"{address} cannot be reached{words}", f"无法连接 {address}{words}")


def _tls(causes: Causes, server: _Server) -> RelayError | None:
    error = causes.find(ssl.SSLError)
    is_https = urlsplit(server.url).scheme == "https"
    answered = causes.find(http.client.BadStatusLine)
    if answered and str(answered.args[0]).startswith(_TLS_ALERT):
        message = Localized(
            f"{server.address} speaks TLS, and the URL starts with http://",
            f"{server.address} 使用 TLS，而 URL 以 http:// 开头",
        )
    elif not is_https or not causes.have_note(NOT_CONNECTED):
        return None
    elif error and error.reason in _PLAIN_PORT:
        message = Localized(
            f"{server.address} does not speak TLS, and the URL starts with https://",
            f"{server.address} 不支持 TLS，而 URL 以 https:// 开头",
        )
    else:
        reason = _handshake_reason(causes)
        message = Localized(
            f"The TLS connection to {server.address} failed: {reason.en}",
            f"与 {server.address} 的 TLS 连接失败：{reason.zh}",
        )
    return TemporaryFailure(
        "outbound.tls",
        message,
        Localized(
            "Nothing was sent. Check the scheme and port of the URL, and proxies in between.",
            "未发送任何请求。请检查 URL 的协议与端口，以及中间的代理。",
        ),
    )


def _handshake_reason(causes: Causes) -> Localized:
    error = causes.find(ssl.SSLError)
    if causes.find(TimeoutError) and error is None:
        return Localized("the handshake did not end in time", "握手超时")
    if error and error.reason and not isinstance(error, ssl.SSLEOFError):
        return Localized(f"OpenSSL reports {error.reason}", f"OpenSSL 报告 {error.reason}")
    return Localized("the server closed the connection", "服务器关闭了连接")


def _unusable_file(causes: Causes, server: _Server) -> RelayError | None:
    del server
    if not causes.have_note(NOT_CONNECTED):
        return None
    error = next((c for c in causes if isinstance(c, OSError) and c.filename), None)
    if error is None:
        return None
    return TemporaryFailure(
        "outbound.file",
        Localized(
            f"The file {error.filename} cannot be used ({error.strerror})",
            f"文件 {error.filename} 无法使用（{error.strerror}）",
        ),
        Localized(
            "An environment variable names it, such as SSLKEYLOGFILE: correct or unset it.",
            "该文件由环境变量指定（例如 SSLKEYLOGFILE）：请修正或取消设置。",
        ),
    )


_EXPLANATIONS: Sequence[Explanation] = (
    _invalid_request,
    _untrusted_certificate,
    _proxy,
    _not_reached,
    _unusable_file,
    _tls,
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions below `error`: urllib3 keeps them in `reason`, others in `args`."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending and len(seen) < _MAX_CAUSES:
        cause = pending.pop(0)
        if not isinstance(cause, BaseException) or any(cause is other for other in seen):
            continue
        seen.append(cause)
        yield cause
        pending += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
