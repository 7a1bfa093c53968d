"""Finds globs for keys that hardly any object has, and says why. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

_CHECKS: tuple[tuple[Callable[[str], object], str, str], ...] = (
    (
        re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE).match,
        "is an address, and a key is the name within the bucket",
        'Leave out the scheme and the bucket: "prod/*.zip".',
    ),
    (
        re.compile(r"\.{0,2}/").match,
        "begins like a path, and keys usually begin with a name",
        'Leave out the beginning: "prod/*.zip".',
    ),
    (
        lambda glob: glob != glob.strip(),
        "begins or ends with a space, which is part of the key",
        "Remove it, unless the keys have it.",
    ),
    (
        re.compile(r"\{[^{}]*\}").search,
        "contains braces, which have no meaning in a glob",
        "Write a route for each alternative; [ab] is a character of a set.",
    ),
    (
        lambda glob: "\\" in glob,
        "contains a backslash, which has no meaning in a glob",
        "Keys are separated with /; write [*] for a literal star.",
    ),
)


def doubt(glob: str, buckets: Collection[str]) -> tuple[str, str] | None:
    """Return what is doubtful about the glob for the keys of these buckets, and a hint."""
    for is_doubtful, words, hint in _CHECKS:
        if is_doubtful(glob):
            return words, hint
    first, slash, rest = glob.partition("/")
    if slash and first in buckets:
        hint = f'Leave it out, unless the keys begin with it: "{rest}".'
        return f"begins with the name of the bucket {first}, which is not part of the key", hint
    return None
