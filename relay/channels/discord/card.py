"""Lays a card out as a Discord embed.

Source: the documentation of Discord for developers, "Message Resource": embed limits, allowed
mentions. Lengths are counted in UTF-16 units, the most that Discord could mean by characters.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.channels.card import Card, Fact, Line, Link, shrink_to_fit
from relay.channels.markdown_escape import code_span, escape_markdown
from relay.model import Json

LONGEST_TITLE = 256
LONGEST_DESCRIPTION = 4096
LONGEST_VALUE = 1024
LONGEST_FOOTER = 2048
LONGEST_EMBED = 6000
MOST_FIELDS = 25

_COLOURS = {"good": 0x2EB67D, "bad": 0xE01E5A, "neutral": 0x9AA0A6, "warning": 0xECB22E}
_IN_LINKS = str.maketrans({"(": "%28", ")": "%29", " ": "%20", "<": "%3C", ">": "%3E", "\\": "%5C"})


def render(shown: Card) -> Json:
    """What is posted: one embed, and that nobody is mentioned."""
    fitting = shrink_to_fit(shown, lambda card: _fits(_embed(card)))
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


def _embed(shown: Card) -> Json:
    embed: Json = {
        "title": _cut(
            f"{shown.sign} {escape_markdown(f'{shown.title}: {shown.name}')}", LONGEST_TITLE
        ),
        "description": "\n".join(_paragraphs(shown)),
        "color": _COLOURS[shown.tone],
        "fields": [_field(fact) for fact in shown.facts],
    }
    if shown.footer:
        embed["footer"] = {"text": _cut(shown.footer, LONGEST_FOOTER)}
    if shown.links:
        embed["url"] = shown.links[0].url
    return embed


def _paragraphs(shown: Card) -> Iterator[str]:
    if shown.problem:
        yield _paragraph(shown.problem, f" ({code_span(shown.code)})" if shown.code else "")
    if shown.advice:
        yield _paragraph(shown.advice)
    yield from (_line(line) for line in shown.lines)
    if shown.more:
        yield escape_markdown(shown.more)
    if shown.links:
        yield " · ".join(_link(link) for link in shown.links)


def _paragraph(fact: Fact, after: str = "") -> str:
    return f"**{fact.label}**\n{escape_markdown(fact.value)}{after}"


def _line(line: Line) -> str:
    where = f" {_link(Link('→', line.url))}" if line.url else ""
    return f"{line.sign} {code_span(line.name)} {escape_markdown(line.text)}{where}"


def _field(fact: Fact) -> Json:
    value = escape_markdown(fact.value) if fact.sentence else code_span(fact.value)
    # Discord refuses an empty value.
    return {"name": fact.label, "value": _cut(value, LONGEST_VALUE) or "–", "inline": True}


def _link(link: Link) -> str:
    return f"[{link.label}]({link.url.translate(_IN_LINKS)})"


def _cut(text: str, longest: int) -> str:
    if length(text) <= longest:
        return text
    short = text[: longest - 1]
    while length(short) > longest - 1:
        short = short[:-1]
    return f"{short}…"
