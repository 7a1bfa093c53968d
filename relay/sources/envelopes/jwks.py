"""KeySet: the public keys that an issuer signs its tokens with, kept and refreshed.

Wire format: RFC 7517 (JWK Set), of which only RSA keys for signatures are taken.
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

FRESH = timedelta(hours=1)
"""How long keys are taken without looking again."""

PAUSE = timedelta(minutes=1)
"""The least between two fetches, however many tokens name keys that are not there."""

SOON = timedelta(seconds=10)
"""The same after a fetch that failed: senders are told to come again meanwhile."""

SHORTEST = 2048
"""Bits of an RSA key (NIST SP 800-131A)."""

MOST = 100
"""Keys of a set that are read; Entra has ten."""


class JwksCache:
    """The keys behind one pinned address. For many threads: one of them fetches at a time."""

    def __init__(self, url: str, fetch: Fetch) -> None:
        self._url = url
        self._fetch = fetch
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._got: datetime | None = None
        self._next: datetime | None = None
        self._failed = False
        self._fetching = Lock()

    def key(self, kid: str, now: datetime) -> RSAPublicKey | None:
        """The key of that id; None: the issuer has no such key.

        TemporaryFailure when its keys cannot be had now. Old keys are used as long as no newer
        ones can be.
        """
        known = kid in self._keys
        # Who knows an old key does not wait for another thread's fetch.
        if not (known and self._fresh(now)) and self._fetching.acquire(blocking=not known):
            try:
                self._refresh(kid, now)
            finally:
                self._fetching.release()
        found = self._keys.get(kid)
        if found is None and self._failed:
            raise TemporaryFailure(
                "envelope.no_keys",
                Localized(
                    "The keys that the sender's token is signed with cannot be fetched now",
                    "目前无法获取验证发送方令牌所需的公钥",
                ),
                Localized("The sender should come again.", "发送方应稍后重试。"),
                retry_after=SOON,
            )
        return found

    def _fresh(self, now: datetime) -> bool:
        return self._got is not None and abs(now - self._got) < FRESH

    def _refresh(self, kid: str, now: datetime) -> None:
        if kid in self._keys and self._fresh(now):
            return  # another thread fetched it while this one waited
        # A clock that was set back must not hold the next fetch up for long.
        if self._next is not None and timedelta(0) < self._next - now <= PAUSE:
            return
        try:
            found = dict(_keys(self._fetch(self._url)))
        except RelayError:
            found = {}
        self._failed = not found
        self._next = now + (SOON if self._failed else PAUSE)
        if found:
            self._keys, self._got = found, now


def _keys(body: bytes) -> Iterator[tuple[str, RSAPublicKey]]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return
    every = found.get("keys") if isinstance(found, dict) else None
    for one in every[:MOST] if isinstance(every, list) else ():
        key = _key(one) if isinstance(one, dict) else None
        if key is not None:
            yield one["kid"], key


def _key(one: Mapping[str, Any]) -> RSAPublicKey | None:
    fits = one.get("kty") == "RSA" and one.get("use", "sig") == "sig"
    if not fits or one.get("alg", "RS256") != "RS256" or not isinstance(one.get("kid"), str):
        return None
    try:
        public = {name: one[name] for name in ("kty", "n", "e")}
        key = PyJWK(public, "RS256").key
    except (PyJWTError, KeyError, TypeError, ValueError):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= SHORTEST else None
