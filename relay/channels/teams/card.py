"""Lays a card out as an Adaptive Card for Microsoft Teams.

Source: adaptivecards.io, the schema 1.4; learn.microsoft.com, "Format cards in Microsoft Teams" and
"Create an Incoming Webhook" (28 KB a message).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from relay.channels.card import Card, Fact, Line, Link, shrink_to_fit
from relay.channels.markdown_escape import escape_markdown
from relay.model import Json

LARGEST = 21_000
"""Bytes of a message. 28 KB are documented, and others saw 21 KB (the gem msteams_hermes)."""

_STYLES = {"good": "good", "bad": "attention", "neutral": "emphasis", "warning": "warning"}
_IN_LINKS = str.maketrans({"(": "%28", ")": "%29", " ": "%20", "<": "%3C", ">": "%3E", "\\": "%5C"})


def render(shown: Card) -> Json:
    """The message that holds the card: what is posted."""
    return _message(shrink_to_fit(shown, lambda card: len(encode(_message(card))) <= LARGEST))


def encode(told: Json) -> bytes:
    """UTF-8, not escaped: Chinese would else count double."""
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def _message(shown: Card) -> Json:
    return {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": _card(shown),
            }
        ],
    }


def _card(shown: Card) -> Json:
    return {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        # No `entities`: without them nothing that looks like a mention is one.
        "msteams": {"width": "Full"},
        "fallbackText": escape_markdown(shown.summary),
        "body": list(_body(shown)),
        "actions": [_action(link) for link in shown.links],
    }


def _body(shown: Card) -> Iterator[Json]:
    heading = f"{shown.sign} {escape_markdown(f'{shown.title}: {shown.name}')}"
    yield {
        "type": "Container",
        "style": _STYLES[shown.tone],
        "bleed": True,
        "items": [_text(heading, size="Large", weight="Bolder")],
    }
    if shown.problem:
        code = f" ({escape_markdown(shown.code)})" if shown.code else ""
        yield from _paragraph(shown.problem, code)
    if shown.advice:
        yield from _paragraph(shown.advice)
    if shown.facts:
        facts = [
            {"title": fact.label, "value": escape_markdown(fact.value)} for fact in shown.facts
        ]
        yield {"type": "FactSet", "facts": facts}
    yield from (_text(_line(line), spacing="Small") for line in shown.lines)
    if shown.more:
        yield _text(escape_markdown(shown.more), spacing="Small")
    if shown.footer:
        yield _text(escape_markdown(shown.footer), isSubtle=True, size="Small", separator=True)


def _paragraph(fact: Fact, after: str = "") -> Iterator[Json]:
    yield _text(fact.label, weight="Bolder")
    yield _text(f"{escape_markdown(fact.value)}{after}", spacing="None")


def _line(line: Line) -> str:
    where = f" [→]({line.url.translate(_IN_LINKS)})" if line.url else ""
    return f"{line.sign} **{escape_markdown(line.name)}** {escape_markdown(line.text)}{where}"


def _text(text: str, **looks: str | bool) -> Json:
    return {"type": "TextBlock", "text": text, "wrap": True, **looks}


def _action(link: Link) -> Json:
    return {"type": "Action.OpenUrl", "title": link.label, "url": link.url}
