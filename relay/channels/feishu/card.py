"""Renders a card as an interactive card for Feishu and Lark.

Source: open.feishu.cn, the card's JSON 1.0 structure, which every custom bot accepts.
"""

from __future__ import annotations

import unicodedata

from relay.channels.card import Card, Fact, Link
from relay.channels.group_robot import add_keyword, digest_row, heading, parenthesize
from relay.channels.markdown_escape import escape_markdown
from relay.model import Json

_HALF_ROW_COLUMNS = 18
"""Width of half a row on a phone; a Chinese character takes two columns."""

_COLOURS = {"good": "green", "bad": "red", "neutral": "grey", "warning": "orange"}


def render(card: Card, language: str, keyword: str = "") -> Json:
    """Return the message with the card. Names of functions and objects stay plain text."""
    title = heading(card, language)
    elements: list[Json] = []
    if card.facts:
        elements.append({"tag": "div", "fields": [_field(fact) for fact in card.facts]})
    if card.problem:
        elements.append(_text(f"{_fact(card.problem)}{parenthesize(card.code, language)}"))
    if card.advice:
        elements.append(_text(_fact(card.advice)))
    if card.lines:
        rows = [digest_row(line, language) for line in card.lines]
        elements.append(_text("\n".join(filter(None, [*rows, escape_markdown(card.more)]))))
    if card.links:
        elements.append({"tag": "action", "actions": [_button(link) for link in card.links]})
    footer = add_keyword(card.footer, keyword, title)
    elements.append({"tag": "note", "elements": [{"tag": "plain_text", "content": footer}]})
    return {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {
                "template": _COLOURS[card.tone],
                "title": {"tag": "plain_text", "content": title},
            },
            "elements": elements,
        },
    }


def _text(content: str) -> Json:
    return {"tag": "div", "text": {"tag": "lark_md", "content": content}}


def _field(fact: Fact) -> Json:
    return {
        "is_short": _columns(fact.value) <= _HALF_ROW_COLUMNS,
        "text": {"tag": "lark_md", "content": _fact(fact)},
    }


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _fact(fact: Fact) -> str:
    return f"**{fact.label}**\n{escape_markdown(fact.value)}"


def _button(link: Link) -> Json:
    return {
        "tag": "button",
        "text": {"tag": "plain_text", "content": link.label},
        "url": link.url,
        "type": "default",
    }
