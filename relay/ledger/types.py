"""Column types, and how their values are stored on both engines."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import BigInteger, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# UTF-8 has no lone surrogates and PostgreSQL no NUL, but JSON may contain both in a key. Such a
# character is stored as U+FDD0 (a Unicode noncharacter) and the hexadecimal code.
_UNSTORABLE = re.compile("[\0\ud800-\udfff\ufdd0]")
_ESCAPED = re.compile("\ufdd0([0-9a-f]{4})")


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware datetime in UTC, stored as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class AnyText(TypeDecorator[str]):
    """Any Python string, even if UTF-8 cannot encode it; compared as bytes."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        return _bytewise_text(dialect)

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        if value is None:
            return None
        return storable(str(value))

    def process_result_value(self, value: str | None, _dialect: Dialect) -> str | None:
        if value is None or "\ufdd0" not in value:
            return value
        return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)


class EnumText(TypeDecorator[StrEnum]):
    """A value of an enumeration."""

    impl = Text
    cache_ok = True

    def __init__(self, enum: type[StrEnum]) -> None:
        super().__init__()
        self.enum = enum

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        return _bytewise_text(dialect)

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.enum(value)


def storable(text: str) -> str:
    """Return a text as it is stored."""
    return _UNSTORABLE.sub(lambda match: f"\ufdd0{ord(match[0]):04x}", text)


def _bytewise_text(dialect: Dialect) -> TypeEngine[str]:
    # PostgreSQL would otherwise sort by the locale; ids and orders must sort as bytes.
    return Text(collation="C") if dialect.name == "postgresql" else Text()
