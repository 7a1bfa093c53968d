"""Ids: 26 lower-case characters that sort by creation time (ULID: 48 bits of ms, 80 random)."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id(now: datetime) -> str:
    """Return a new id."""
    return _encode(now, secrets.randbits(80))


def new_id_after(now: datetime, last: str | None) -> str:
    """Return a new id that sorts after `last`, even if the clock was set back."""
    id_ = new_id(now)
    if last is None or id_ > last:
        return id_
    return _format(_decode(last) + 1)


def id_of(moment: datetime) -> str:
    """Return the smallest id of a moment: every id that sorts before it is older."""
    return _encode(moment, 0)


def _encode(moment: datetime, random: int) -> str:
    return _format((max(int((moment - _EPOCH).total_seconds() * 1000), 0) << 80) | random)


def _decode(id_: str) -> int:
    number = 0
    for character in id_:
        number = number << 5 | _CROCKFORD.index(character)
    return number


def _format(number: int) -> str:
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
