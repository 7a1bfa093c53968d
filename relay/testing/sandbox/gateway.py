"""The gateway before the sandbox: who calls, with which token or signature, and how much.

What the facts leave open and this gateway decides (inferred): "12 MB" is 12,000,000 bytes and only
bodies signed by AK/SK are bound to it; a hex X-Sdk-Content-Sha256 must be the body's digest; a
token scoped to another region must be updated (APIGW.0307); one without a project is not
authorized (APIGW.0302); a temporary key that ended is refused like a wrong one (APIGW.0301).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hmac import compare_digest

from relay.testing.sandbox.answers import refusal
from relay.testing.sandbox.iam import Iam
from relay.testing.sandbox.keys import Key, KeyRing
from relay.testing.sandbox.signature import (
    EMPTY_BODY,
    UNSIGNED,
    Authorization,
    Signed,
    parse_authorization,
    parse_date,
    sign,
)

SKEW = timedelta(minutes=15)

BodyCheck = Callable[[str], None]
"""Told the SHA-256 (hex) of the whole body; refuses the call when it is not what was signed."""


class Gateway:
    """Admits a call, or refuses it before its body is read."""

    def __init__(self, keys: KeyRing, iam: Iam, limit: int, clock: Callable[[], datetime]) -> None:
        self._keys = keys
        self._iam = iam
        self._limit = limit
        self._clock = clock

    def admit(self, request: Signed, length: int) -> BodyCheck | None:
        """What is left to be checked when the body of `length` bytes is in, if anything."""
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

    def _check_signature(self, request: Signed, header: str, length: int) -> BodyCheck | None:
        given = parse_authorization(header)
        if given is None:
            raise _unauthenticated("verify aksk signature fail, the Authorization is malformed")
        secret = self._check_key(request, given).secret
        if length > self._limit:
            raise refusal("APIGW.0201")
        declared = request.headers.get("x-sdk-content-sha256")
        if declared is None and length:
            return lambda found: _compare(secret, request, given, found)
        _compare(secret, request, given, declared or EMPTY_BODY)
        return None if declared in (None, UNSIGNED) else lambda found: _same(declared or "", found)

    def _check_key(self, request: Signed, given: Authorization) -> Key:
        key = self._keys.find(given.access_key)
        if key is None:
            raise _unauthenticated(f"Get secretKey failed,ak:{given.access_key},err:ak not exist")
        when = parse_date(request.headers.get("x-sdk-date", ""))
        if when is None or "x-sdk-date" not in given.signed_headers:
            raise _unauthenticated("verify aksk signature fail, X-Sdk-Date is missing or unsigned")
        if abs(self._clock() - when) > SKEW:
            raise _unauthenticated(
                "verify aksk signature fail, the time differs by more than 15 minutes"
            )
        if key.security_token:
            told = request.headers.get("x-security-token", "")
            signed = "x-security-token" in given.signed_headers
            if not signed or not compare_digest(told.encode(), key.security_token.encode()):
                raise _unauthenticated("verify security token fail")
        if key.expires and key.expires <= self._clock():
            raise _unauthenticated("verify security token fail, it has expired")
        return key


def _compare(secret: str, request: Signed, given: Authorization, body_hash: str) -> None:
    _same(sign(secret, request, given.signed_headers, body_hash), given.signature)


def _same(right: str, given: str) -> None:
    if not compare_digest(right.encode(), given.encode()):
        raise _unauthenticated("verify aksk signature fail")


def _unauthenticated(why: str) -> Exception:
    return refusal("APIGW.0301", f"Incorrect IAM authentication information: {why}")
