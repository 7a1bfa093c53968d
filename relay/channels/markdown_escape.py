"""Foreign words made inert, for services whose Markdown has no escape to be relied on.

What could be markup becomes its look-alike, or is parted by an invisible word joiner: that holds
whichever client shows it. Backslashes do not: Teams shows them on phones (AdaptiveCards #5590),
Discord where it reads no Markdown.
"""

from __future__ import annotations

import re

_JOINER = "\u2060"
_LOOK_ALIKES = str.maketrans(
    {
        "*": "∗",
        "~": "∼",
        "`": "ˋ",
        "|": "∣",
        "\\": "⧵",
        "[": "［",
        "]": "］",
        "<": "‹",
        ">": "›",
    }
)
_CODE = str.maketrans({"`": "ˋ", "<": "‹", ">": "›"})
_EMPHASIS = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_PARTED = re.compile(
    r"""
    (?<=@)(?=\w)                # a mention
    | (?<!\w:)(?<=:)(?=[\w+'-]+:)   # an emoji's name; no URN, no time of the day
    | (?<=:)(?=//)              # an address that would be made a link
    | (?<=\bwww)(?=\.)
    | (?<=&)(?=[\#\w])          # an entity
    | (?<=\{)(?=\{)             # {{DATE(...)}}
    | ^(?=[-+\#]|[0-9]+[.)]\s)  # a list, a heading
    """,
    re.VERBOSE | re.IGNORECASE,
)


def escape_markdown(text: str) -> str:
    """One line of text that looks the same and means nothing but itself."""
    told = _EMPHASIS.sub(lambda match: "ˍ" * len(match[0]), text.translate(_LOOK_ALIKES))
    return _PARTED.sub(_JOINER, told)


def code_span(text: str) -> str:
    """A name as a code span, in which nothing is markup but a backtick."""
    return f"`{text.translate(_CODE)}`"
