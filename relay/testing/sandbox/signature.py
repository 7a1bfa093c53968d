"""SDK-HMAC-SHA256 as the gateway verifies it, implemented independently of the target's signer.

Source: API signing guide of Huawei Cloud (canonical request, string to sign, HMAC with the secret
key; no derived key and no scope).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

ALGORITHM = "SDK-HMAC-SHA256"
EMPTY_BODY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{{64}})"
)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as received. Header names are lower-case; `target` includes the query."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parts of the Authorization header; `signature` is in hex."""

    access_key: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(header: str) -> Authorization | None:
    match = _AUTHORIZATION.fullmatch(header.strip())
    return Authorization(match[1], tuple(match[2].split(";")), match[3]) if match else None


def parse_date(text: str) -> datetime | None:
    """Parse X-Sdk-Date: `YYYYMMDDTHHMMSSZ`, UTC."""
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def canonical_request(request: SignedRequest, signed_headers: Iterable[str], body_hash: str) -> str:
    path, _, query = request.target.partition("?")
    names = list(signed_headers)
    values = [f"{name}:{request.headers.get(name, '').strip()}\n" for name in names]
    return "\n".join(
        (
            request.method.upper(),
            _canonical_path(path),
            _canonical_query(query),
            "".join(values),
            ";".join(names),
            body_hash,
        )
    )


def sign(
    secret_key: str, request: SignedRequest, signed_headers: Iterable[str], body_hash: str
) -> str:
    """Return the signature (hex) of a request, which must have the header x-sdk-date."""
    canonical = canonical_request(request, signed_headers, body_hash)
    to_sign = (
        f"{ALGORITHM}\n{request.headers.get('x-sdk-date', '')}\n"
        f"{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    return hmac.new(secret_key.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def _canonical_path(path: str) -> str:
    segments = quote(unquote(path), safe="/~")
    return segments if segments.endswith("/") else segments + "/"


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    decoded = sorted((unquote(name), unquote(value)) for name, _, value in pairs)
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in decoded)
