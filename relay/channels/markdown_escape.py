"""Makes foreign text harmless for services whose Markdown has no reliable escape character.

Markup characters are replaced by look-alikes, or separated by an invisible word joiner: this works
in every client. Backslashes do not: Teams shows them on phones (AdaptiveCards #5590), and Discord
shows them where it does not interpret Markdown.
"""

from __future__ import annotations

import re

from relay.channels.card import Link

WORD_JOINER = "\u2060"
_LOOK_ALIKES = str.maketrans(r"*~`|\[]<>", "∗∼ˋ∣⧵［］‹›")
_IN_CODE = str.maketrans("`<>", "ˋ‹›")
_IN_URL = str.maketrans({"(": "%28", ")": "%29", " ": "%20", "<": "%3C", ">": "%3E", "\\": "%5C"})
_UNDERSCORES = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_SEPARATED = re.compile(
    r"""
    (?<=@)(?=\w)                # a mention
    | (?<!\w:)(?<=:)(?=[\w+'-]+:)   # the name of an emoji; not a URN, not a time
    | (?<=:)(?=//)              # an address that a client would turn into a link
    | (?<=\bwww)(?=\.)
    | (?<=&)(?=[\#\w])          # an entity
    | (?<=\{)(?=\{)             # {{DATE(...)}}
    | ^(?=[-+\#]|[0-9]+[.)]\s)  # a list, a heading
    """,
    re.VERBOSE | re.IGNORECASE,
)


def escape_markdown(text: str) -> str:
    """Return one line of text that looks the same and contains no markup."""
    return _SEPARATED.sub(WORD_JOINER, escape_underscores(text.translate(_LOOK_ALIKES)))


def escape_underscores(text: str) -> str:
    """Replace underscores at the edge of a word: only these start or end italics."""
    return _UNDERSCORES.sub(lambda match: "ˍ" * len(match[0]), text)


def code_span(text: str) -> str:
    """Return a name as a code span; only a backtick is markup there."""
    return f"`{text.translate(_IN_CODE)}`"


def markdown_link(link: Link) -> str:
    """Return a Markdown link; characters that would end the address early are percent-encoded."""
    return f"[{link.label}]({link.url.translate(_IN_URL)})"
