"""Malformed variants of a record: each field in turn is missing or has an unexpected value."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from relay.model import Json

Path = tuple[str | int, ...]

WRONG_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**400,
    1.5,
    float("inf"),
    "",
    "x",
    "null",
    "%FF%FE",
    "\ud800",
    "a\0b",
    "k" * 100_000,
    "9" * 5000,
    "9999-12-31T23:59:59.999999999-23:59",
    [],
    [None],
    {},
    {"x": {}},
)


def mangle(record: Json) -> Iterator[tuple[Path, Json]]:
    """Yield (path, record) for each field: without the field, then with each wrong value."""
    for path in list(_paths(record)):
        variant = deepcopy(record)
        del _parent(variant, path)[path[-1]]
        yield path, variant
        for value in WRONG_VALUES:
            variant = deepcopy(record)
            _parent(variant, path)[path[-1]] = value
            yield path, variant
    yield (), {}


def _paths(value: Any, prefix: Path = ()) -> Iterator[Path]:
    names: list[Any] = []
    if isinstance(value, dict):
        names = list(value)
    elif isinstance(value, list):
        names = list(range(len(value)))
    for name in names:
        yield (*prefix, name)
        yield from _paths(value[name], (*prefix, name))


def _parent(record: Json, path: Path) -> Any:
    parent: Any = record
    for name in path[:-1]:
        parent = parent[name]
    return parent
