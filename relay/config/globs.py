"""Globs over bucket names and object keys, which remember what each of their wildcards matched."""

from __future__ import annotations

import re
from functools import lru_cache

_LONGEST = 1024
_MOST_WILDCARDS = 32


@lru_cache(maxsize=1024)
def compile_glob(glob: str) -> re.Pattern[str]:
    """The glob as a pattern for `fullmatch`, one group for each wildcard, from left to right.

    `*` and `**` are the same: any run of characters, also none, also with `/` in it, since object
    keys are names and not paths: "prod/*.zip" takes prod/a/b.zip. `?` is one character, `[a-z]`
    one of these, `[!a-z]` none of these, `[*]` a star itself. Upper and lower case differ. Each
    `*` takes as little as it can, the last one what is left. ValueError says what is wrong.
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
    # Atomic groups: a hostile key cannot make the search go back over what was settled.
    middle = "".join(f"(?>(.*?){run})" for run in rest[:-1])
    return re.compile(f"{first}{middle}(.*){rest[-1]}", re.DOTALL)


def wildcards(glob: str) -> int:
    """How many groups the glob has."""
    return compile_glob(glob).groups


def _runs(glob: str) -> list[str]:
    """What stands between the stars, as patterns."""
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
