"""Renders a card as plain text for Apprise."""

from __future__ import annotations

import re

from relay.channels.card import Card
from relay.channels.markdown_escape import WORD_JOINER
from relay.model import Json

_TYPES = {"good": "success", "bad": "failure", "neutral": "info", "warning": "warning"}
_MENTION = re.compile(r"@(?=\w)|(?<=<)(?=[!@#&])")
_ADDRESS = re.compile(r"(?<=\w)(?=://)|(?<=\bwww)(?=\.)", re.IGNORECASE)


def render(card: Card) -> Json:
    """Return Apprise's arguments: title, body and notify_type."""
    lines = [f"{fact.label}: {_escape(fact.value)}" for fact in card.facts]
    if card.problem:
        code = f" ({_escape(card.code)})" if card.code else ""
        lines.append(f"{card.problem.label}: {_escape(card.problem.value)}{code}")
    if card.advice:
        lines.append(f"{card.advice.label}: {_escape(card.advice.value)}")
    for line in card.lines:
        url = f" {line.url}" if line.url else ""
        lines.append(f"{line.sign} {_escape(line.name)}: {_escape(line.text)}{url}")
    lines += [card.more] if card.more else []
    lines += [f"{link.label}: {link.url}" for link in card.links]
    lines.append(_escape(card.footer))
    return {
        "title": f"{card.sign} {_escape(card.title)}: {_escape(card.name)}",
        "body": "\n".join(lines),
        "notify_type": _TYPES[card.tone],
    }


def _escape(text: str) -> str:
    # The markup of the service is not known: break mentions and addresses of every service.
    without_mentions = _MENTION.sub(lambda match: match[0] + WORD_JOINER, text)
    return _ADDRESS.sub(WORD_JOINER, without_mentions)
