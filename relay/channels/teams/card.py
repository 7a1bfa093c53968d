"""Renders a card as an Adaptive Card for Microsoft Teams.

Source: adaptivecards.io, the schema 1.4; learn.microsoft.com, "Format cards in Microsoft Teams" and
"Create an Incoming Webhook" (28 KB a message).
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.channels.card import Card, Fact, Line, Link, render_to_fit
from relay.channels.markdown_escape import escape_markdown, markdown_link
from relay.model import Json

LARGEST = 21_000
"""Bytes of a message. 28 KB are documented, but others measured 21 KB (the gem msteams_hermes)."""

_STYLES = {"good": "good", "bad": "attention", "neutral": "emphasis", "warning": "warning"}


def render(card: Card) -> Json:
    """Return the message with the card."""
    return render_to_fit(card, _message, LARGEST)


def _message(card: Card) -> Json:
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": _content(card),
            }
        ],
    }


def _content(card: Card) -> Json:
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        # No `entities`: without them no text is a mention.
        "msteams": {"width": "Full"},
        "fallbackText": escape_markdown(card.summary),
        "body": list(_body(card)),
        "actions": [_action(link) for link in card.links],
    }


def _body(card: Card) -> Iterator[Json]:
    heading = f"{card.sign} {escape_markdown(f'{card.title}: {card.name}')}"
    yield {
        "type": "Container",
        "style": _STYLES[card.tone],
        "bleed": True,
        "items": [_text(heading, size="Large", weight="Bolder")],
    }
    if card.problem:
        code = f" ({escape_markdown(card.code)})" if card.code else ""
        yield from _paragraph(card.problem, code)
    if card.advice:
        yield from _paragraph(card.advice)
    if card.facts:
        yield {"type": "FactSet", "facts": [_fact(fact) for fact in card.facts]}
    yield from (_text(_line(line), spacing="Small") for line in card.lines)
    if card.more:
        yield _text(escape_markdown(card.more), spacing="Small")
    if card.footer:
        yield _text(escape_markdown(card.footer), isSubtle=True, size="Small", separator=True)


def _paragraph(fact: Fact, suffix: str = "") -> Iterator[Json]:
    yield _text(fact.label, weight="Bolder")
    yield _text(f"{escape_markdown(fact.value)}{suffix}", spacing="None")


def _fact(fact: Fact) -> Json:
    return {"title": fact.label, "value": escape_markdown(fact.value)}


def _line(line: Line) -> str:
    link = f" {markdown_link(Link('→', line.url))}" if line.url else ""
    return f"{line.sign} **{escape_markdown(line.name)}** {escape_markdown(line.text)}{link}"


def _text(text: str, **style: str | bool) -> Json:
    return {"type": "TextBlock", "text": text, "wrap": True, **style}


def _action(link: Link) -> Json:
    return {"type": "Action.OpenUrl", "title": link.label, "url": link.url}
