"""Renders a card as Markdown for WeCom.

Source: developer.work.weixin.qq.com, "Configuration of message push (formerly group robots)". A
template card is no alternative: it shows at most six facts, no digest, and needs a public address.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from relay.channels.card import Card, Fact, plain, shrink_to_fit
from relay.channels.group_robot import colon, digest_row, parenthesize
from relay.channels.markdown_escape import code_span, escape_markdown, markdown_link
from relay.model import Json

LONGEST_TEXT = 4096
"""Bytes of the Markdown in UTF-8."""

_VALUE_LIMITS = (200, 100, 60, 30)
"""Limits on the length of a value, in characters: the first with which the card fits is used."""

_BRACKETS = str.maketrans({"[": "［", "]": "］"})

_COLOURS = {"good": "info", "bad": "warning", "neutral": "comment", "warning": "warning"}
"""WeCom has three colours: green, orange and grey."""


def render(card: Card, language: str) -> Json:
    """Return the message: long values are shortened first, then lines and facts are dropped."""

    def fits(card: Card) -> bool:
        return len(_text(card, language).encode()) <= LONGEST_TEXT

    shorter = (_shorten(card, limit) for limit in _VALUE_LIMITS)
    chosen = next(filter(fits, shorter), _shorten(card, _VALUE_LIMITS[-1]))
    text = _text(shrink_to_fit(chosen, fits), language)
    return {"msgtype": "markdown", "markdown": {"content": text}}


def _text(card: Card, language: str) -> str:
    return "\n".join(_rows(card, language))


def _rows(card: Card, language: str) -> Iterator[str]:
    title = f'<font color="{_COLOURS[card.tone]}">{escape_markdown(card.title)}</font>'
    name = f"{colon(language)}{escape_markdown(card.name)}" if card.name else ""
    yield f"### {card.sign} {title}{name}"
    for fact in card.facts:
        label = f'<font color="comment">{fact.label}{colon(language)}</font>'
        yield f"> {label}{_value(fact)}"
    if card.facts:
        yield ""  # ends the quotation
    if card.problem:
        yield f"{_sentence(card.problem, language)}{parenthesize(card.code, language)}"
    if card.advice:
        yield _sentence(card.advice, language)
    for line in card.lines:
        yield digest_row(line, language)
    if card.more:
        yield escape_markdown(card.more)
    if card.links:
        yield "　".join(map(markdown_link, card.links))
    yield f'<font color="comment">{escape_markdown(card.footer)}</font>'


def _sentence(fact: Fact, language: str) -> str:
    return f"**{fact.label}**{colon(language)}{escape_markdown(fact.value)}"


def _value(fact: Fact) -> str:
    escaped = escape_markdown(fact.value)
    if fact.sentence or (escaped == fact.value and "_" not in escaped):
        return escaped
    # A code span keeps the exact name for copying. Brackets are replaced all the same: WeCom does
    # not document that code contains no links.
    return code_span(fact.value.translate(_BRACKETS))


def _shorten(card: Card, longest: int) -> Card:
    def shorten(fact: Fact | None) -> Fact | None:
        # Sentences get more space: the advice is the most important part of the card.
        return replace(fact, value=plain(fact.value, 3 * longest)) if fact else None

    return replace(
        card,
        title=plain(card.title, longest),
        name=plain(card.name, longest),
        facts=tuple(replace(fact, value=plain(fact.value, longest)) for fact in card.facts),
        problem=shorten(card.problem),
        advice=shorten(card.advice),
        code=plain(card.code, longest) if card.code else None,
        lines=tuple(
            replace(line, name=plain(line.name, longest), text=plain(line.text, longest))
            for line in card.lines
        ),
        footer=plain(card.footer, longest),
    )
