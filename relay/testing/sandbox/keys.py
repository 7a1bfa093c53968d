"""The access keys that the sandbox's gateway knows: a user's own, and those lent to an agency."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Key:
    """With a `security_token` it is a temporary one; `expires` None: never."""

    id: str
    secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    expires: datetime | None = None


class KeyRing:
    """Knows `own` and every key that it lent."""

    def __init__(self, own: Key, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._keys = {own.id: own}
        self._guard = threading.Lock()

    def find(self, access_key: str) -> Key | None:
        with self._guard:
            return self._keys.get(access_key)

    def is_good(self, key: Key, span: timedelta) -> bool:
        """Whether it holds for so long yet."""
        known = self.find(key.id)
        return bool(known and (not known.expires or known.expires - self._clock() > span))

    def lend(self, life: timedelta) -> Key:
        """A new temporary key; its security token is as long as real ones."""
        name, secret = "HST" + secrets.token_hex(8).upper(), secrets.token_hex(20)
        key = Key(name, secret, "gQ" + secrets.token_urlsafe(900), self._clock() + life)
        with self._guard:
            self._keys[name] = key
        return key

    def end_lent(self) -> None:
        """Every key that was lent is refused from now on."""
        past = self._clock() - timedelta(seconds=1)
        with self._guard:
            self._keys = {
                name: replace(key, expires=past) if key.expires else key
                for name, key in self._keys.items()
            }
