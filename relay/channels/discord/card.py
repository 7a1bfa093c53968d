"""Renders a card as a Discord embed.

Source: the documentation of Discord for developers, "Message Resource": embed limits, allowed
mentions. Lengths are counted in UTF-16 units, the strictest interpretation of "characters".
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.channels.card import Card, Fact, Line, Link, shrink_to_fit
from relay.channels.markdown_escape import code_span, escape_markdown, markdown_link
from relay.model import Json

LONGEST_TITLE = 256
LONGEST_DESCRIPTION = 4096
LONGEST_VALUE = 1024
LONGEST_FOOTER = 2048
LONGEST_EMBED = 6000
MOST_FIELDS = 25

_COLOURS = {"good": 0x2EB67D, "bad": 0xE01E5A, "neutral": 0x9AA0A6, "warning": 0xECB22E}


def render(card: Card) -> Json:
    """Return the message: an embed, with all mentions disabled."""
    fitting = shrink_to_fit(card, lambda card: _fits(_embed(card)))
    return {"embeds": [_embed(fitting)], "allowed_mentions": {"parse": []}}


def length(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2


def _fits(embed: Json) -> bool:
    fields = [text for field in embed["fields"] for text in (field["name"], field["value"])]
    footer = embed.get("footer", {}).get("text", "")
    texts = [embed["title"], embed["description"], footer, *fields]
    return (
        len(embed["fields"]) <= MOST_FIELDS
        and length(embed["description"]) <= LONGEST_DESCRIPTION
        and sum(map(length, texts)) <= LONGEST_EMBED
    )


def _embed(card: Card) -> Json:
    title = f"{card.sign} {escape_markdown(f'{card.title}: {card.name}')}"
    embed: Json = {
        "title": _shorten(title, LONGEST_TITLE),
        "description": "\n".join(_paragraphs(card)),
        "color": _COLOURS[card.tone],
        "fields": [_field(fact) for fact in card.facts],
    }
    if card.footer:
        embed["footer"] = {"text": _shorten(card.footer, LONGEST_FOOTER)}
    if card.links:
        embed["url"] = card.links[0].url
    return embed


def _paragraphs(card: Card) -> Iterator[str]:
    if card.problem:
        yield _paragraph(card.problem, f" ({code_span(card.code)})" if card.code else "")
    if card.advice:
        yield _paragraph(card.advice)
    yield from (_line(line) for line in card.lines)
    if card.more:
        yield escape_markdown(card.more)
    if card.links:
        yield " · ".join(markdown_link(link) for link in card.links)


def _paragraph(fact: Fact, suffix: str = "") -> str:
    return f"**{fact.label}**\n{escape_markdown(fact.value)}{suffix}"


def _line(line: Line) -> str:
    link = f" {markdown_link(Link('→', line.url))}" if line.url else ""
    return f"{line.sign} {code_span(line.name)} {escape_markdown(line.text)}{link}"


def _field(fact: Fact) -> Json:
    value = escape_markdown(fact.value) if fact.sentence else code_span(fact.value)
    # Discord refuses an empty value.
    return {"name": fact.label, "value": _shorten(value, LONGEST_VALUE) or "–", "inline": True}


def _shorten(text: str, longest: int) -> str:
    if length(text) <= longest:
        return text
    start = text[: longest - 1]
    while length(start) > longest - 1:
        start = start[:-1]
    return f"{start}…"
