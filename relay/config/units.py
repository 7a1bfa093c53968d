"""Sizes, durations and rates as people write them: "300MiB", "15m", "10/1m"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema

_SIZES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_SPANS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_SIZE = re.compile(r"([0-9]{1,15}) ?([A-Za-z]{1,3})?")
_DURATION = re.compile(r"(?:[0-9]{1,9}(?:ms|[smhdw]))+")
_PART = re.compile(r"([0-9]+)(ms|[smhdw])")
_RATE = re.compile(r"([0-9]{1,9})/([0-9a-z]{1,20})")

_SIZE_RIGHT = 'should be a size, such as "300MiB" or "1048576"'
_DURATION_RIGHT = 'should be a duration, such as "500ms", "10s", "15m", "3h", "2d", "1h30m" or "0"'
_RATE_RIGHT = 'should be a rate, such as "10/1m": ten per minute'


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `count` in any `period`."""

    count: int
    period: timedelta


def parse_size(value: Any) -> int:
    """Return a size in bytes; "300MiB" is 300 * 2**20, "300MB" 300 * 10**6. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    unit = _SIZES.get((match[2] or "b").lower()) if match else None
    if match is None or unit is None:
        raise ValueError(_SIZE_RIGHT)
    return int(match[1]) * unit


def parse_duration(value: Any) -> timedelta:
    """Return a duration such as "1h30m"; a number other than 0 needs a unit. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    text = str(value).strip() if isinstance(value, str | int) else ""
    if text == "0":
        return timedelta(0)
    if not _DURATION.fullmatch(text):
        raise ValueError(_DURATION_RIGHT)
    try:
        return sum((int(n) * _SPANS[unit] for n, unit in _PART.findall(text)), timedelta(0))
    except OverflowError:
        raise ValueError(_DURATION_RIGHT) from None


def parse_rate(value: Any) -> RateLimit:
    """Return a rate such as "10/1m" or "10/m"; zero is not allowed. Raises ValueError."""
    if isinstance(value, RateLimit):
        return value
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(_RATE_RIGHT)
    span = match[2] if match[2][0].isdigit() else f"1{match[2]}"
    try:
        rate = RateLimit(int(match[1]), parse_duration(span))
    except ValueError:
        raise ValueError(_RATE_RIGHT) from None
    if not rate.count or not rate.period:
        raise ValueError(_RATE_RIGHT)
    return rate


def size_words(size: int) -> str:
    """Write a number of bytes exactly, in the largest unit that fits: "1MiB"."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and not size % _SIZES[unit.lower()]:
            return f"{size // _SIZES[unit.lower()]}{unit}"
    return str(size)


def duration_words(span: timedelta) -> str:
    """Write a duration exactly to the millisecond, in a single unit: "90m"."""
    for unit in ("d", "h", "m", "s"):
        if span and not span % _SPANS[unit]:
            return f"{span // _SPANS[unit]}{unit}"
    return f"{span // _SPANS['ms']}ms" if span else "0"


def rate_words(rate: RateLimit) -> str:
    return f"{rate.count}/{duration_words(rate.period)}"


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(size_words, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^[0-9]{1,15} ?([KkMmGgTt]?[Ii]?[Bb])?$"},
            ]
        }
    ),
]
"""A number of bytes: `max_size: Size = 300 * 2**20`."""

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_words, return_type=str),
    WithJsonSchema(
        {"anyOf": [{"const": 0}, {"type": "string", "pattern": "^(0|([0-9]{1,9}(ms|[smhdw]))+)$"}]}
    ),
]
"""A span of time: `scan_every: Duration = timedelta(minutes=15)`; zero is falsy and means off."""

Rate = Annotated[
    RateLimit,
    BeforeValidator(parse_rate),
    PlainSerializer(rate_words, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+/[0-9a-z]+$"}),
]
"""How often something may happen: `rate: Rate | None = None`."""


class SchemaInWords(GenerateJsonSchema):
    """A JSON Schema with readable defaults: pydantic would write "PT3H"."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return duration_words(dft)
        if isinstance(dft, RateLimit):
            return rate_words(dft)
        return super().encode_default(dft)
