"""Ids: 26 characters that sort by the moment at which they were made (ULID)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(now: datetime) -> str:
    """A new id: 26 lower-case characters that sort by time (ULID: 48 bits of ms, 80 of chance)."""
    return _spelled(now, secrets.randbits(80))


def id_of(moment: datetime) -> str:
    """The smallest id that `new_id` may make at that moment: what sorts before it is older."""
    return _spelled(moment, 0)


def _spelled(moment: datetime, chance: int) -> str:
    number = (max(int((moment - _EPOCH).total_seconds() * 1000), 0) << 80) | chance
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
