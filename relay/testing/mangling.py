"""Records that went wrong: each field in turn missing, or something that nobody expects there."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from relay.model import Json

Path = tuple[str | int, ...]

WRONG: tuple[Any, ...] = (
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


def mangled(record: Json) -> Iterator[tuple[Path, Json]]:
    """(path, record) for each field, without it and with each wrong value in its place."""
    for path in list(_paths(record)):
        broken = deepcopy(record)
        del _parent(broken, path)[path[-1]]
        yield path, broken
        for value in WRONG:
            broken = deepcopy(record)
            _parent(broken, path)[path[-1]] = value
            yield path, broken
    yield (), {}


def _paths(value: Any, here: Path = ()) -> Iterator[Path]:
    names: list[Any] = []
    if isinstance(value, dict):
        names = list(value)
    elif isinstance(value, list):
        names = list(range(len(value)))
    for name in names:
        yield (*here, name)
        yield from _paths(value[name], (*here, name))


def _parent(record: Json, path: Path) -> Any:
    found: Any = record
    for name in path[:-1]:
        found = found[name]
    return found
