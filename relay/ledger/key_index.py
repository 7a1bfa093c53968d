"""Keys of objects, compared so that PostgreSQL finds them by an index however long they are.

It takes no more than 2,704 bytes into an index; a key may be longer. So its indexes hold the
beginning of a key, and whoever asks for a key asks for its beginning too. SQLite has no such limit.
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

HEAD = 300
"""Characters of the beginning: 1,200 bytes at the most, beside the names of source and bucket."""


class KeyPrefix(FunctionElement[str]):
    """What the index holds of a key."""

    name = "key_head"
    type = Text()
    inherit_cache = True


class _Condition(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: object = None) -> Any:
        del against  # it needs no brackets, and SQLite is not to compare it with 1
        return self


class _Same(_Condition):
    """Whether two keys are equal."""

    name = "same_key"
    inherit_cache = True


class _Among(_Condition):
    """Whether a key is one of many: what asks for it, and what asks for its beginning."""

    name = "among_keys"
    inherit_cache = True


class _Comparator(TypeDecorator.Comparator[str]):
    """`key == other` asks for the beginning too."""

    def operate(self, op: OperatorType, *other: Any, **more: Any) -> ColumnElement[Any]:
        plain = super().operate(op, *other, **more)
        if isinstance(plain, BinaryExpression) and plain.operator is eq:
            return _Same(plain.left, plain.right)
        return plain


class KeyText(AnyText):
    """An object's key, which may be longer than PostgreSQL takes into an index."""

    cache_ok = True
    comparator_factory = _Comparator


def among(column: ColumnElement[str], keys: Collection[str]) -> ColumnElement[bool]:
    """`column.in_(keys)`, found by the index too."""
    heads = {storable(key)[:HEAD] for key in keys}
    return _Among(column.in_(keys), KeyPrefix(column).in_(heads))


@compiles(KeyPrefix)
def _whole(element: Any, compiler: Any, **more: Any) -> str:
    return str(compiler.process(element.clauses, **more))


@compiles(KeyPrefix, "postgresql")
def _beginning(element: Any, compiler: Any, **more: Any) -> str:
    return f"left({compiler.process(element.clauses, **more)}, {HEAD})"


@compiles(_Among)
def _among(element: Any, compiler: Any, **more: Any) -> str:
    keys, _ = element.clauses
    return str(compiler.process(keys, **more))


@compiles(_Among, "postgresql")
def _among_by_index(element: Any, compiler: Any, **more: Any) -> str:
    keys, heads = (compiler.process(each, **more) for each in element.clauses)
    return f"({keys} AND {heads})"


@compiles(_Same)
def _same(element: Any, compiler: Any, **more: Any) -> str:
    one, other = (compiler.process(each, **more) for each in element.clauses)
    return f"{one} = {other}"


@compiles(_Same, "postgresql")
def _same_by_index(element: Any, compiler: Any, **more: Any) -> str:
    one, other = (compiler.process(each, **more) for each in element.clauses)
    return f"({one} = {other} AND left({one}, {HEAD}) = left({other}, {HEAD}))"
