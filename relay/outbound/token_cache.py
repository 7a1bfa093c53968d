"""A credential that ends: one for many threads, fetched anew by one of them before that."""

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
"""How long before its end a credential is renewed; the last tenth of a life shorter than 5 h."""

REFUSAL_HOLDS = timedelta(seconds=60)
"""How long nothing is asked after a refusal: clouds lock users after a few failures."""

TRIED_AGAIN_AFTER = timedelta(seconds=60)
"""When renewing ahead of the end did not succeed."""


@dataclass(frozen=True, slots=True)
class ExpiringValue(Generic[T]):
    """A credential and how long it lives from now on; None: until it is refused."""

    value: T
    life: timedelta | None = None


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    value: T
    renew_at: datetime | None
    ends: datetime | None


class CachedCredential(Generic[T]):
    """`fetch()` gets a new one, or raises an error of the tree."""

    def __init__(self, fetch: Callable[[], ExpiringValue[T]], clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = Lock()
        self._held: _Held[T] | None = None
        self._refused: tuple[datetime, RelayError] | None = None

    def get(self) -> T:
        """One that is good for a while; the errors of `fetch` when there is none to be had."""
        held, now = self._held, self._clock()
        if held is None or (held.ends and now >= held.ends):
            with self._lock:
                return self._fresh() if self._held in (None, held) else self._held.value
        if held.renew_at and now >= held.renew_at:
            return self._ahead(held)
        return held.value

    def renew(self, stale: T) -> T:
        """Another one than `stale`, unless `fetch` gives the same; one of many threads asks."""
        with self._lock:
            held = self._held
            return held.value if held and held.value != stale else self._fresh()

    def _ahead(self, held: _Held[T]) -> T:
        # What is held is good still: nobody waits, and trouble with the next one is none yet.
        if not self._lock.acquire(blocking=False):
            return held.value
        try:
            return self._fresh()
        except RelayError:
            self._held = replace(held, renew_at=self._clock() + TRIED_AGAIN_AFTER)
            return held.value
        finally:
            self._lock.release()

    def _fresh(self) -> T:
        now = self._clock()
        if self._refused and now < self._refused[0]:
            raise copy(self._refused[1])
        try:
            fetched = self._fetch()
        except PermanentFailure as refused:
            self._refused = (now + REFUSAL_HOLDS, copy(refused))
            raise
        self._refused = None
        life = fetched.life
        early = now + life - min(RENEW_BEFORE, life / 10) if life is not None else None
        self._held = _Held(fetched.value, early, now + life if life is not None else None)
        return fetched.value
