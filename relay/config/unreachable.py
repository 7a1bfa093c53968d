"""Finds routes that can never match, and says why. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from relay.config.globs import compile_glob
from relay.config.load import Route, Settings
from relay.config.routing import labelled

_MAX_STEPS = 20_000
"""Steps of a comparison of globs; beyond it, the route counts as reachable."""

_PART = re.compile(r"\*+|\?|\[(!?)(.[^\]]*)\]|.", re.DOTALL)
_LAST = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """A route that can never match: its position in the file, and the reason."""

    number: int
    words: str
    hint: str


def unreachable_routes(settings: Settings) -> Iterator[Unreachable]:
    """Yield the routes that can never match an object of their source."""
    earlier: dict[str, list[tuple[str, Route]]] = {}
    for number, (label, route) in enumerate(labelled(settings.routes)):
        before = earlier.setdefault(route.source, [])
        source = settings.sources.get(route.source)
        found = _explain(route, source.buckets if source else (), before)
        if found:
            yield Unreachable(number, *found)
        before.append((label, route))


def is_covered(glob: str, others: Sequence[str]) -> bool:
    """Return whether each name that matches the glob also matches one of the others.

    Follows the names that match the glob character by character, together with the positions in the
    other globs. False also if that takes too many steps.
    """
    own, rest = _parts(glob), [_parts(other) for other in others]
    characters = _representatives([own, *rest])
    start = (0, _closure(rest, {(index, 0) for index in range(len(rest))}))
    seen, open_ = {start}, [start]
    while open_:
        position, places = open_.pop()
        ends = {position} | ({position + 1} if _is_star(own, position) else set())
        if len(own) in ends and not any(place == len(rest[index]) for index, place in places):
            return False
        for at in ends - {len(own)}:
            for character in characters:
                if not _accepts(own[at], character):
                    continue
                after = at if own[at] is None else at + 1
                step = (after, _closure(rest, _move(rest, places, character)))
                if step not in seen:
                    if len(seen) >= _MAX_STEPS:
                        return False
                    seen.add(step)
                    open_.append(step)
    return True


def _explain(
    route: Route, buckets: Sequence[str], earlier: Sequence[tuple[str, Route]]
) -> tuple[str, str] | None:
    if "/" in route.bucket and not re.search(r"\[[^\]]*/", route.bucket):
        return (
            "never matches: no name of a bucket contains a slash",
            "`bucket` is the name alone; folders belong to `key`.",
        )
    if route.key.startswith("/"):
        return (
            "matches only keys that begin with a slash, and storages give keys without it",
            f"Write {route.key.lstrip('/')!r}.",
        )
    matching = [name for name in buckets if compile_glob(route.bucket).fullmatch(name)]
    if buckets and not matching:
        return (
            f"never matches: source {route.source} accepts only events of {', '.join(buckets)}",
            f"Correct `bucket`, or add the bucket to sources.{route.source}.buckets.",
        )
    covering = _covering(route, matching, earlier)
    if not covering:
        return None
    noun = "route" if len(covering) == 1 else "the routes"
    verb = "matches" if len(covering) == 1 else "match"
    return (
        f"never matches: {noun} {', '.join(covering)} before it {verb} all of its objects",
        "The first match wins: put the narrower route first.",
    )


def _covering(
    route: Route, buckets: Sequence[str], earlier: Sequence[tuple[str, Route]]
) -> list[str]:
    """Return the labels of the earlier routes that match everything that the route matches."""
    if buckets:
        groups = [
            [item for item in earlier if compile_glob(item[1].bucket).fullmatch(bucket)]
            for bucket in buckets
        ]
    else:
        groups = [[item for item in earlier if is_covered(route.bucket, [item[1].bucket])]]
    labels: dict[str, None] = {}
    for group in groups:
        alone = [item for item in group if is_covered(route.key, [item[1].key])]
        covering = alone[:1] or group
        if not covering or not is_covered(route.key, [item[1].key for item in covering]):
            return []
        labels |= dict.fromkeys(label for label, _ in covering)
    return list(labels)


@cache
def _parts(glob: str) -> tuple[Ranges | None, ...]:
    """Return the characters that each part of a glob accepts; None is a star."""
    return tuple(_ranges(part) for part in _PART.finditer(glob))


def _ranges(part: re.Match[str]) -> Ranges | None:
    if part[0].startswith("*"):
        return None
    if part[0] == "?":
        return ((0, _LAST),)
    if part[2] is None:
        return ((ord(part[0]), ord(part[0])),)
    found = re.findall(r"(.)-(.)|(.)", part[2], re.DOTALL)
    ranges = sorted((ord(low or one), ord(high or one)) for low, high, one in found)
    return _inverted(ranges) if part[1] else tuple(ranges)


def _inverted(ranges: Sequence[tuple[int, int]]) -> Ranges:
    inverted, start = [], 0
    for low, high in ranges:
        if low > start:
            inverted.append((start, low - 1))
        start = max(start, high + 1)
    return (*inverted, (start, _LAST))


def _representatives(globs: Sequence[Sequence[Ranges | None]]) -> list[int]:
    """Return a character of each class of characters that no part tells apart."""
    starts = {0}
    for parts in globs:
        for low, high in (pair for part in parts if part is not None for pair in part):
            starts |= {low, high + 1}
    return sorted(start for start in starts if start <= _LAST)


def _accepts(part: Ranges | None, character: int) -> bool:
    return part is None or any(low <= character <= high for low, high in part)


def _is_star(parts: Sequence[Ranges | None], position: int) -> bool:
    return position < len(parts) and parts[position] is None


def _move(
    globs: Sequence[Sequence[Ranges | None]], places: frozenset[tuple[int, int]], character: int
) -> set[tuple[int, int]]:
    moved = set()
    for index, place in places:
        parts = globs[index]
        if place < len(parts) and _accepts(parts[place], character):
            moved.add((index, place if parts[place] is None else place + 1))
    return moved


def _closure(
    globs: Sequence[Sequence[Ranges | None]], places: set[tuple[int, int]]
) -> frozenset[tuple[int, int]]:
    """Add the places that are reached without a character: a star may match nothing."""
    skipped = {(index, place + 1) for index, place in places if _is_star(globs[index], place)}
    return frozenset(places | skipped)
