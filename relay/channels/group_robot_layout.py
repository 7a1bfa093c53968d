"""How the group robots' cards are written: punctuation of each language, rows, links. Pure."""

from __future__ import annotations

from relay.channels.card import Card, Line, Link
from relay.channels.markdown_escape import escape_markdown
from relay.model import Localized

_OPEN = Localized("open", "查看")


def heading(shown: Card, language: str) -> str:
    """The first line of a card, as plain text."""
    name = f"{colon(language)}{shown.name}" if shown.name else ""
    return f"{shown.sign} {shown.title}{name}"


def row(line: Line, language: str) -> str:
    """One delivery of a digest, with its link."""
    where = f" {markdown_link(Link(_OPEN.in_(language), line.url))}" if line.url else ""
    return f"{line.sign} **{escape_markdown(line.name)}** {escape_markdown(line.text)}{where}"


def markdown_link(link: Link) -> str:
    """A link whose address cannot end early."""
    url = link.url.replace(" ", "%20").replace("(", "%28").replace(")", "%29")
    return f"[{link.label}]({url})"


def with_keyword(footer: str, keyword: str, shown: str) -> str:
    """The footer, with the keyword where the rest of what is shown lacks it."""
    return footer if keyword in f"{shown}{footer}" else f"{footer} · {keyword}"


def colon(language: str) -> str:
    return "：" if language == "zh" else ": "


def bracketed(text: str | None, language: str) -> str:
    """A code behind a sentence; nothing for none."""
    if not text:
        return ""
    return f"（{escape_markdown(text)}）" if language == "zh" else f" ({escape_markdown(text)})"
