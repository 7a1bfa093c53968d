"""JwksCache: the public keys that an issuer signs tokens with, fetched and cached.

Wire format: RFC 7517 (JWK Set). Only RSA keys for signatures are accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

from relay.errors import RelayError, TemporaryFailure
from relay.model import Localized
from relay.sources.envelope import Fetch
from relay.sources.envelopes.certificates import MIN_KEY_BITS

MAX_AGE = timedelta(hours=1)
"""How long fetched keys are used before they are fetched again."""

MIN_INTERVAL = timedelta(minutes=1)
"""The shortest time between two fetches, however many tokens name unknown keys."""

RETRY_AFTER = timedelta(seconds=10)
"""When to fetch again after a failure. Senders retry meanwhile."""

MAX_KEYS = 100
"""Keys of a set that are read; Entra publishes ten."""


class JwksCache:
    """The keys at a pinned URL. Thread-safe: a single thread fetches at a time."""

    def __init__(self, url: str, fetch: Fetch) -> None:
        self._url = url
        self._fetch = fetch
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._fetched_at: datetime | None = None
        self._fetch_after: datetime | None = None
        self._failed = False
        self._fetching = Lock()

    def key(self, kid: str, now: datetime) -> RSAPublicKey | None:
        """Return the key with that id, None if the issuer has none.

        Old keys are used until newer ones can be fetched. TemporaryFailure when the key is not
        known and the keys cannot be fetched now.
        """
        is_known = kid in self._keys
        # A thread that has an old key does not wait while another thread fetches.
        if not (is_known and self._is_fresh(now)) and self._fetching.acquire(blocking=not is_known):
            try:
                self._refresh(kid, now)
            finally:
                self._fetching.release()
        key = self._keys.get(kid)
        if key is None and self._failed:
            raise TemporaryFailure(
                "envelope.no_keys",
                Localized(
                    "The keys that the sender's token is signed with cannot be fetched now",
                    "目前无法获取验证发送方令牌所需的公钥",
                ),
                Localized("The sender should retry.", "发送方应稍后重试。"),
                retry_after=RETRY_AFTER,
            )
        return key

    def _is_fresh(self, now: datetime) -> bool:
        return self._fetched_at is not None and abs(now - self._fetched_at) < MAX_AGE

    def _refresh(self, kid: str, now: datetime) -> None:
        if kid in self._keys and self._is_fresh(now):
            return  # another thread fetched the key while this thread waited
        # The upper limit: a clock that was set back must not block the next fetch for long.
        if self._fetch_after is not None and timedelta(0) < self._fetch_after - now <= MIN_INTERVAL:
            return
        try:
            keys = dict(_read_keys(self._fetch(self._url)))
        except RelayError:
            keys = {}
        self._failed = not keys
        self._fetch_after = now + (RETRY_AFTER if self._failed else MIN_INTERVAL)
        if keys:
            self._keys, self._fetched_at = keys, now


def _read_keys(body: bytes) -> Iterator[tuple[str, RSAPublicKey]]:
    try:
        key_set = json.loads(body)
    except (ValueError, RecursionError):
        return
    jwks = key_set.get("keys") if isinstance(key_set, dict) else None
    for jwk in jwks[:MAX_KEYS] if isinstance(jwks, list) else ():
        key = _read_key(jwk) if isinstance(jwk, dict) else None
        if key is not None:
            yield jwk["kid"], key


def _read_key(jwk: Mapping[str, Any]) -> RSAPublicKey | None:
    is_for_signatures = jwk.get("kty") == "RSA" and jwk.get("use", "sig") == "sig"
    if not is_for_signatures or jwk.get("alg", "RS256") != "RS256":
        return None
    if not isinstance(jwk.get("kid"), str):
        return None
    try:
        key = PyJWK({name: jwk[name] for name in ("kty", "n", "e")}, "RS256").key
    except (PyJWTError, KeyError, TypeError, ValueError):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= MIN_KEY_BITS else None
