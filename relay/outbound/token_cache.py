"""CachedCredential: a thread-safe cache for expiring credentials, refreshed early."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

from relay.errors import PermanentFailure, RelayError

T = TypeVar("T")
Clock = Callable[[], datetime]

RENEW_BEFORE = timedelta(minutes=30)
"""How long before expiry a credential is renewed; a tenth of the lifetime if that is shorter."""

REFUSAL_CACHED = timedelta(seconds=60)
"""How long a refusal is cached: clouds lock users after a few failed attempts."""

RETRY_AFTER = timedelta(seconds=60)
"""The time until the next attempt when an early renewal failed."""


@dataclass(frozen=True, slots=True)
class ExpiringValue(Generic[T]):
    """A credential and the lifetime from now on; None: valid until it is refused."""

    value: T
    life: timedelta | None = None


@dataclass(frozen=True, slots=True)
class _CachedValue(Generic[T]):
    value: T
    renew_at: datetime | None
    expires_at: datetime | None


class CachedCredential(Generic[T]):
    """Caches the result of `fetch()`, which raises errors of Relay's tree."""

    def __init__(self, fetch: Callable[[], ExpiringValue[T]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = Lock()
        self._cached: _CachedValue[T] | None = None
        self._refusal: tuple[datetime, RelayError] | None = None

    def get(self) -> T:
        """Return a valid credential; raises the errors of `fetch` when there is none."""
        cached, now = self._cached, self._clock()
        if cached is None or (cached.expires_at and now >= cached.expires_at):
            with self._lock:
                if self._cached in (None, cached):
                    return self._fetch_new()
                return self._cached.value
        if cached.renew_at and now >= cached.renew_at:
            return self._renew_early(cached)
        return cached.value

    def renew(self, refused: T) -> T:
        """Return another credential than `refused`, unless `fetch` returns the same again.

        If several threads call this, only the first fetches.
        """
        with self._lock:
            cached = self._cached
            return cached.value if cached and cached.value != refused else self._fetch_new()

    def _renew_early(self, cached: _CachedValue[T]) -> T:
        # The cached value is still valid: other threads use it, and a failure is not an error yet.
        if not self._lock.acquire(blocking=False):
            return cached.value
        try:
            return self._fetch_new()
        except RelayError:
            self._cached = replace(cached, renew_at=self._clock() + RETRY_AFTER)
            return cached.value
        finally:
            self._lock.release()

    def _fetch_new(self) -> T:
        now = self._clock()
        if self._refusal and now < self._refusal[0]:
            raise copy(self._refusal[1])
        try:
            fetched = self._fetch()
        except PermanentFailure as refusal:
            self._refusal = (now + REFUSAL_CACHED, copy(refusal))
            raise
        self._refusal = None
        life = fetched.life
        renew_at = now + life - min(RENEW_BEFORE, life / 10) if life is not None else None
        expires_at = now + life if life is not None else None
        self._cached = _CachedValue(fetched.value, renew_at, expires_at)
        return fetched.value
