"""Column types, and how their values are stored and compared on both engines.

PostgreSQL's index entries hold at most 2,704 bytes, and an object key may be longer. The indexes
therefore hold the prefix of a key, and each comparison of keys also compares the prefix. SQLite has
no limit.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, BinaryExpression, Boolean, ColumnElement, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType, eq
from sqlalchemy.types import TypeDecorator, TypeEngine

PREFIX_LENGTH = 300
"""Characters of the prefix: at most 1,200 bytes, beside the names of source and bucket."""

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


class KeyPrefix(FunctionElement[str]):
    """The indexed part of a key."""

    name = "key_head"
    type = Text()
    inherit_cache = True


class _KeyCondition(FunctionElement[bool]):
    """A condition for a key, and the same condition for the prefix."""

    name = "key_condition"
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: object = None) -> Any:
        del against  # no parentheses, and no comparison with 1 on SQLite
        return self


class _Comparator(TypeDecorator.Comparator[str]):
    """Makes `key == other` compare the prefix too."""

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        expression = super().operate(op, *other, **kwargs)
        if isinstance(expression, BinaryExpression) and expression.operator is eq:
            left, right = KeyPrefix(expression.left), KeyPrefix(expression.right)
            return _KeyCondition(expression, left == right)
        return expression


class KeyText(AnyText):
    """An object key of any length."""

    cache_ok = True
    comparator_factory = _Comparator


def among(column: ColumnElement[str], keys: Collection[str]) -> ColumnElement[bool]:
    """Return `column.in_(keys)`, which also uses the index."""
    prefixes = {storable(key)[:PREFIX_LENGTH] for key in keys}
    return _KeyCondition(column.in_(keys), KeyPrefix(column).in_(prefixes))


@compiles(KeyPrefix)
@compiles(_KeyCondition)
def _without_prefix(element: Any, compiler: Any, **kwargs: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **kwargs))


@compiles(KeyPrefix, "postgresql")
def _prefix_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    return f"left({compiler.process(element.clauses, **kwargs)}, {PREFIX_LENGTH})"


@compiles(_KeyCondition, "postgresql")
def _with_prefix_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    keys, prefixes = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"({keys} AND {prefixes})"


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
