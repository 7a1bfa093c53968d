"""Object keys, compared so that PostgreSQL finds them by an index however long they are.

PostgreSQL's index entries hold at most 2,704 bytes, and a key may be longer. The indexes therefore
hold the prefix of a key, and each comparison of keys also compares the prefix. SQLite has no limit.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import BinaryExpression, Boolean, ColumnElement, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType, eq
from sqlalchemy.types import TypeDecorator

from relay.ledger.types import AnyText, storable

PREFIX_LENGTH = 300
"""Characters: at most 1,200 bytes, beside the names of source and bucket."""


class KeyPrefix(FunctionElement[str]):
    """The indexed part of a key."""

    name = "key_head"
    type = Text()
    inherit_cache = True


class _Condition(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: object = None) -> Any:
        del against  # no parentheses, and no comparison with 1 on SQLite
        return self


class _Equal(_Condition):
    """The condition that two keys are equal."""

    name = "same_key"
    inherit_cache = True


class _In(_Condition):
    """The condition that a key is in a collection: for the key and for the prefix."""

    name = "among_keys"
    inherit_cache = True


class _Comparator(TypeDecorator.Comparator[str]):
    """Makes `key == other` compare the prefix too."""

    def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        expression = super().operate(op, *other, **kwargs)
        if isinstance(expression, BinaryExpression) and expression.operator is eq:
            return _Equal(expression.left, expression.right)
        return expression


class KeyText(AnyText):
    """An object key of any length."""

    cache_ok = True
    comparator_factory = _Comparator


def among(column: ColumnElement[str], keys: Collection[str]) -> ColumnElement[bool]:
    """Return `column.in_(keys)`, which also uses the index."""
    prefixes = {storable(key)[:PREFIX_LENGTH] for key in keys}
    return _In(column.in_(keys), KeyPrefix(column).in_(prefixes))


@compiles(KeyPrefix)
def _prefix(element: Any, compiler: Any, **kwargs: Any) -> str:
    return str(compiler.process(element.clauses, **kwargs))


@compiles(KeyPrefix, "postgresql")
def _prefix_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    return f"left({compiler.process(element.clauses, **kwargs)}, {PREFIX_LENGTH})"


@compiles(_In)
def _in(element: Any, compiler: Any, **kwargs: Any) -> str:
    keys, _ = element.clauses
    return str(compiler.process(keys, **kwargs))


@compiles(_In, "postgresql")
def _in_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    keys, prefixes = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"({keys} AND {prefixes})"


@compiles(_Equal)
def _equal(element: Any, compiler: Any, **kwargs: Any) -> str:
    left, right = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{left} = {right}"


@compiles(_Equal, "postgresql")
def _equal_postgresql(element: Any, compiler: Any, **kwargs: Any) -> str:
    left, right = (compiler.process(clause, **kwargs) for clause in element.clauses)
    length = PREFIX_LENGTH
    return f"({left} = {right} AND left({left}, {length}) = left({right}, {length}))"
