"""Foreign text made safe to show: the rule for invisible characters, and sizes."""

from __future__ import annotations

import json

_IDEOGRAPHIC_SPACE = "\u3000"


def is_invisible(character: str) -> bool:
    """Return whether a character must not be shown as it is.

    These are controls, direction marks and joiners, surrogates, private and unassigned code points,
    and all separators but the space and the ideographic space of Chinese texts.
    """
    return not character.isprintable() and character != _IDEOGRAPHIC_SPACE


def escape_invisible(text: str, keep: str = "") -> str:
    r"""Write invisible characters as JSON escapes such as \u202e, except those in `keep`."""
    if text.isprintable():
        return text
    return "".join(
        json.dumps(character)[1:-1]
        if character not in keep and is_invisible(character)
        else character
        for character in text
    )


def one_line(text: str) -> str:
    """Join a text to one line: runs of white space become a space, invisible characters go."""
    if not text.isprintable():
        text = "".join(
            " " if character.isspace() else "" if is_invisible(character) else character
            for character in text
        )
    return " ".join(text.split())


def excerpt(text: str, limit: int = 300) -> str:
    """Return the beginning of a text on one line, at most `limit` characters."""
    line = one_line(text[: limit * 4])
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def format_size(size: float) -> str:
    """Write a number of bytes for people: 812 B, 3.4 KiB, 120 MiB."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1000 and len(units) > 1:
        size /= 1024
        units.pop(0)
    digits = 0 if size >= 10 or units[0] == "B" else 1
    return f"{size:.{digits}f} {units[0]}"
