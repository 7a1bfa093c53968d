"""The API gateway of the sandbox: checks the token or signature and the size of a request.

The signature (SDK-HMAC-SHA256) is implemented independently of the target's signer. Source: API
signing guide of Huawei Cloud (canonical request, string to sign, HMAC with the secret key; no
derived key and no scope).

Inferred, because the documentation does not say: "12 MB" means 12,000,000 bytes and applies only to
bodies signed with AK/SK; a hex X-Sdk-Content-Sha256 must be the digest of the body; a token for
another region must be updated (APIGW.0307); a token without a project is not authorized
(APIGW.0302); an expired temporary key is rejected like a wrong key (APIGW.0301).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from urllib.parse import quote, unquote

from relay.testing.sandbox.iam import AccessKey, Iam, KeyRing
from relay.testing.sandbox.replies import refusal

ALGORITHM = "SDK-HMAC-SHA256"
EMPTY_BODY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Access=([^,\s]+), ?SignedHeaders=([^,\s]+), ?Signature=([0-9a-f]{{64}})"
)

MAX_CLOCK_SKEW = timedelta(minutes=15)

BodyCheck = Callable[[str], None]
"""Called with the SHA-256 (hex) of the body; raises RequestRefused if it was not signed."""


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


class Gateway:
    """Admits or refuses a request before the body is read."""

    def __init__(self, keys: KeyRing, iam: Iam, limit: int, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._iam = iam
        self._limit = limit
        self._clock = clock

    def admit(self, request: SignedRequest, length: int) -> BodyCheck | None:
        """Check a request; returns the check for the received body, if it needs any."""
        authorization = request.headers.get("authorization", "")
        if authorization.startswith("SDK-"):
            return self._check_signature(request, authorization, length)
        self._check_token(request.headers.get("x-auth-token", ""))
        return None

    def _check_token(self, text: str) -> None:
        if not text:
            raise _unauthenticated("x-auth-token or aksk signature not found")
        token = self._iam.find(text)
        if token is None:
            raise _unauthenticated("decrypt token fail")
        if token.region is None:
            raise refusal("APIGW.0302")
        if token.expires <= self._clock() or token.region != self._iam.region:
            raise refusal("APIGW.0307")

    def _check_signature(
        self, request: SignedRequest, header: str, length: int
    ) -> BodyCheck | None:
        given = parse_authorization(header)
        if given is None:
            raise _unauthenticated("verify aksk signature fail, the Authorization is malformed")
        secret = self._check_key(request, given).secret
        if length > self._limit:
            raise refusal("APIGW.0201")
        declared = request.headers.get("x-sdk-content-sha256")
        if declared is None and length:
            return lambda digest: _compare(secret, request, given, digest)
        _compare(secret, request, given, declared or EMPTY_BODY)
        return (
            None
            if declared in (None, UNSIGNED)
            else lambda digest: _require_equal(declared or "", digest)
        )

    def _check_key(self, request: SignedRequest, given: Authorization) -> AccessKey:
        key = self._keys.find(given.access_key)
        if key is None:
            raise _unauthenticated(f"Get secretKey failed,ak:{given.access_key},err:ak not exist")
        when = parse_date(request.headers.get("x-sdk-date", ""))
        if when is None or "x-sdk-date" not in given.signed_headers:
            raise _unauthenticated("verify aksk signature fail, X-Sdk-Date is missing or unsigned")
        if abs(self._clock() - when) > MAX_CLOCK_SKEW:
            raise _unauthenticated(
                "verify aksk signature fail, the time differs by more than 15 minutes"
            )
        if key.security_token:
            token = request.headers.get("x-security-token", "")
            is_signed = "x-security-token" in given.signed_headers
            if not is_signed or not compare_digest(token.encode(), key.security_token.encode()):
                raise _unauthenticated("verify security token fail")
        if key.expires and key.expires <= self._clock():
            raise _unauthenticated("verify security token fail, it has expired")
        return key


def _compare(secret: str, request: SignedRequest, given: Authorization, body_hash: str) -> None:
    _require_equal(sign(secret, request, given.signed_headers, body_hash), given.signature)


def _require_equal(expected: str, given: str) -> None:
    if not compare_digest(expected.encode(), given.encode()):
        raise _unauthenticated("verify aksk signature fail")


def _unauthenticated(reason: str) -> Exception:
    return refusal("APIGW.0301", f"Incorrect IAM authentication information: {reason}")


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
