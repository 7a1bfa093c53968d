"""Renders a card as an ActionCard, or as Markdown where it has no links, for DingTalk.

Source: open.dingtalk.com, "Custom robot access".
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.channels.card import Card, Fact
from relay.channels.group_robot import add_keyword, colon, digest_row, heading, parenthesize
from relay.channels.markdown_escape import escape_markdown
from relay.model import Json

LONGEST_TITLE = 100
"""Characters of the title in the list of chats and in a phone's notification."""

_COLOURS = {"good": "#1A9C4B", "bad": "#D93026", "neutral": "#8A8F99", "warning": "#E8830C"}


def render(card: Card, language: str, keyword: str = "") -> Json:
    """Return the message with the card. It mentions no group members: `at` is empty."""
    title = _title(card, language)
    text = "\n\n".join(_blocks(card, language, keyword))
    if not card.links:
        return {"msgtype": "markdown", "markdown": {"title": title, "text": text}, "at": {}}
    body: Json = {"title": title, "text": text}
    if len(card.links) == 1:
        [link] = card.links
        body |= {"singleTitle": link.label, "singleURL": link.url}
    else:
        buttons = [{"title": link.label, "actionURL": link.url} for link in card.links]
        body |= {"btnOrientation": "1", "btns": buttons}
    return {"msgtype": "actionCard", "actionCard": body, "at": {}}


def _blocks(card: Card, language: str, keyword: str) -> Iterator[str]:
    title = f"<font color={_COLOURS[card.tone]}>{escape_markdown(card.title)}</font>"
    name = f"{colon(language)}{escape_markdown(card.name)}" if card.name else ""
    first = f"### {card.sign} {title}{name}"
    yield first
    if card.facts:
        yield "\n".join(f"- {_fact(fact, language)}" for fact in card.facts)
    if card.problem:
        yield f"{_fact(card.problem, language)}{parenthesize(card.code, language)}"
    if card.advice:
        yield _fact(card.advice, language)
    if card.lines:
        yield "\n".join(f"- {digest_row(line, language)}" for line in card.lines)
    if card.more:
        yield escape_markdown(card.more)
    yield f"> {add_keyword(escape_markdown(card.footer), keyword, first)}"


def _title(card: Card, language: str) -> str:
    title = heading(card, language)
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def _fact(fact: Fact, language: str) -> str:
    return f"**{fact.label}**{colon(language)}{escape_markdown(fact.value)}"
