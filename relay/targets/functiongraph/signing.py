"""SDK-HMAC-SHA256: how Huawei Cloud wants a request signed with an access key. Pure.

Wire format: the "API Signing Guide" of Huawei Cloud; checked against the SDK's own signer.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

ALGORITHM = "SDK-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
"""For X-Sdk-Content-Sha256 when the body is streamed; officially allowed."""

NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key with its secret; `security_token` makes it a temporary one."""

    id: str
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)


def date_of(now: datetime) -> str:
    """The value of X-Sdk-Date; the server tolerates 15 minutes."""
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def host_of(url: str) -> str:
    """The Host header that goes with a URL: no default port, IPv6 in brackets."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    standard = {"https": 443, "http": 80}.get(parts.scheme)
    return host if parts.port in (None, standard) else f"{host}:{parts.port}"


def authorization(
    key: AccessKey,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body_sha256: str = NO_BODY,
) -> str:
    """The value of Authorization.

    `url` and `headers` are as on the wire; all of the headers are signed, but for names with '_',
    and Host and X-Sdk-Date must be among them. `body_sha256` is in hex; X-Sdk-Content-Sha256 in
    the headers takes its place.
    """
    signed = {
        name.lower(): value.strip() for name, value in sorted(headers.items()) if "_" not in name
    }
    names = ";".join(sorted(signed))
    request = _canonical_request(method, url, signed, body_sha256)
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{ALGORITHM}\n{signed['x-sdk-date']}\n{digest}"
    signature = hmac.new(key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"{ALGORITHM} Access={key.id}, SignedHeaders={names}, Signature={signature}"


def _canonical_request(method: str, url: str, signed: Mapping[str, str], body_sha256: str) -> str:
    parts = urlsplit(url)
    lines = (
        method.upper(),
        _canonical_path(parts.path),
        _canonical_query(parts.query),
        "".join(f"{name}:{signed[name]}\n" for name in sorted(signed)),
        ";".join(sorted(signed)),
        signed.get("x-sdk-content-sha256", body_sha256),
    )
    return "\n".join(lines)


def _canonical_path(path: str) -> str:
    encoded = quote(unquote(path), safe="/~")  # an escaped slash is a slash to the SDK
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
