"""Globs over bucket names and object keys; each wildcard is a group of the match."""

from __future__ import annotations

import re
from functools import lru_cache

_LONGEST = 1024
_MOST_WILDCARDS = 32


@lru_cache(maxsize=1024)
def compile_glob(glob: str) -> re.Pattern[str]:
    """Compile a glob to a pattern for `fullmatch`, with a group for each wildcard.

    `*` and `**` are the same: any run of characters, empty or with `/` in it, since object keys are
    names and not paths: "prod/*.zip" matches prod/a/b.zip. `?` is a single character, `[a-z]` a
    character of the set, `[!a-z]` a character outside of it, `[*]` a literal star. Case matters.
    Each `*` matches as little as possible, the last `*` the rest. Raises ValueError.
    """
    if not glob:
        raise ValueError('is empty; "*" matches everything')
    if len(glob) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    runs = _runs(glob)
    if len(runs) - 1 > _MOST_WILDCARDS:
        raise ValueError(f"has more than {_MOST_WILDCARDS} stars")
    first, *rest = runs
    if not rest:
        return re.compile(first, re.DOTALL)
    # Atomic groups: a hostile key cannot cause catastrophic backtracking.
    middle = "".join(f"(?>(.*?){run})" for run in rest[:-1])
    return re.compile(f"{first}{middle}(.*){rest[-1]}", re.DOTALL)


def wildcards(glob: str) -> int:
    """Return the number of wildcards in a glob."""
    return compile_glob(glob).groups


def _runs(glob: str) -> list[str]:
    """Return the patterns between the stars."""
    runs, position = [""], 0
    while position < len(glob):
        char = glob[position]
        if char == "*":
            runs.append("")
            position += 2 if glob.startswith("**", position) else 1
        elif char == "?":
            runs[-1] += "(.)"
            position += 1
        elif char == "[":
            end = glob.find("]", position + (3 if glob[position + 1 : position + 2] == "!" else 2))
            if end < 0:
                raise ValueError("has a [ that no ] closes; write [[] for the character itself")
            runs[-1] += f"({_class(glob[position + 1 : end])})"
            position = end + 1
        else:
            runs[-1] += re.escape(char)
            position += 1
    return runs


def _class(inside: str) -> str:
    negated = inside.startswith("!")
    members = inside[1:] if negated else inside
    pattern, position = "", 0
    while position < len(members):
        low = high = members[position]
        if members[position + 1 : position + 2] == "-" and position + 2 < len(members):
            high = members[position + 2]
            position += 2
        if high < low:
            raise ValueError("has a range in [] that runs backwards")
        pattern += f"{re.escape(low)}-{re.escape(high)}"
        position += 1
    return f"[{'^' if negated else ''}{pattern}]"
