"""SDK-HMAC-SHA256: signs requests to Huawei Cloud with an access key. Pure functions.

Wire format: "API Signing Guide" of Huawei Cloud; tested against the signer of the official SDK.
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
"""The documented value of X-Sdk-Content-Sha256 for a streamed body."""

NO_BODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key and secret. `security_token` is set for a temporary key."""

    id: str
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)


def sdk_date(now: datetime) -> str:
    """Return the value of X-Sdk-Date. The server tolerates an offset of 15 minutes."""
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def host_header(url: str) -> str:
    """Return the Host header for a URL: without a default port, IPv6 in brackets."""
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
    """Return the value of the Authorization header.

    `url` and `headers` are as sent. All headers without '_' in the name are signed and must include
    Host and X-Sdk-Date. `body_sha256` (hex) is ignored if the headers have X-Sdk-Content-Sha256.
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
    encoded = quote(unquote(path), safe="/~")  # the SDK decodes an escaped slash too
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
