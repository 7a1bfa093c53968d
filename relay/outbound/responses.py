"""Reading of HTTP responses and errors: excerpts, Retry-After, and errors of `requests` as ours."""

from __future__ import annotations

import email.utils
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from relay.errors import OutcomeUnknown, PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized, utc_now

LONGEST_WAIT = timedelta(hours=1)
"""The longest wait that a Retry-After header can ask for."""

_UNKNOWN_HOST = "the server"


def translate(error: requests.RequestException, *, sent: bool) -> RelayError:
    """Return the error of Relay's tree for an exception of `requests`.

    `sent`: the request changes something and may have been sent completely. If the response is
    lost, the outcome is unknown (OutcomeUnknown). An untrusted certificate is a TemporaryFailure:
    nothing was sent, and an expired certificate or a missing CA is usually repaired soon.
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
                "Renew the certificate of the server, or set REQUESTS_CA_BUNDLE to the CA. "
                "Check the clock of this machine.",
                "请更新服务器证书，或通过 REQUESTS_CA_BUNDLE 指定其 CA，并检查本机时钟。",
            ),
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return TemporaryFailure(
            "outbound.proxy",
            Localized(f"The proxy cannot connect to {host}", f"代理无法连接 {host}"),
            Localized("Check HTTPS_PROXY and NO_PROXY.", "请检查 HTTPS_PROXY 与 NO_PROXY。"),
        )
    never_connected = (ConnectTimeoutError, NewConnectionError)
    if any(isinstance(cause, never_connected) for cause in causes):
        return TemporaryFailure(
            "outbound.unreachable",
            Localized(f"{host} cannot be reached", f"无法连接 {host}"),
            Localized(
                "Check the host name, the network and firewalls.", "请检查主机名、网络与防火墙。"
            ),
        )
    if sent:
        return OutcomeUnknown(
            "outbound.answer_lost",
            Localized(f"The response of {host} was lost", f"{host} 的响应丢失"),
            Localized("The change may have taken effect.", "变更可能已经生效。"),
        )
    return TemporaryFailure(
        "outbound.interrupted",
        Localized(f"The connection to {host} was interrupted", f"与 {host} 的连接中断"),
        Localized("Nothing was changed. Relay retries.", "未产生任何变更，Relay 会重试。"),
    )


def retry_after(response: requests.Response, now: datetime | None = None) -> timedelta | None:
    """Return the wait in Retry-After (seconds or a date, RFC 9110 §10.2.3), at most LONGEST_WAIT.

    None when the header is absent or unreadable, or when the time has passed.
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


def _host_of(error: requests.RequestException) -> str:
    try:
        url = error.request.url if error.request is not None else ""
        return urlsplit(url or "").hostname or _UNKNOWN_HOST
    except ValueError:
        return _UNKNOWN_HOST


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions below `error`: urllib3 keeps them in `reason`, others in `args`."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending and len(seen) < 20:
        cause = pending.pop()
        if not isinstance(cause, BaseException) or cause in seen:
            continue
        seen.append(cause)
        yield cause
        pending += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]
