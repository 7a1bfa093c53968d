"""Renders a card as Slack's Block Kit.

Source: docs.slack.dev, "Block Kit" and "Formatting message text". The limit over all blocks is not
documented: Slack refuses more than about 13,000 characters as msg_blocks_too_long (bolt-js #2509).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from relay.channels.card import Card, Fact, Line, Link, shrink_to_fit
from relay.channels.markdown_escape import WORD_JOINER, escape_underscores
from relay.model import Json

LONGEST_HEADER = 150
LONGEST_TEXT = 3000
LONGEST_FIELD = 2000
LONGEST_BLOCKS = 12_000
MOST_FIELDS = 10

COLOURS = {"good": "#2eb67d", "bad": "#e01e5a", "neutral": "#9aa0a6", "warning": "#ecb22e"}

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_IN_HEADER = str.maketrans({"&": "＆", "<": "‹", ">": "›"})
_IN_CODE = str.maketrans({"`": "ˋ"})
_LOOK_ALIKES = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})
_EMOJI = re.compile(r":(?=[\w+'-]+:)")
_MENTION = re.compile(r"@(?=\w)")
_BROKEN_ESCAPE = re.compile(r"&[a-z]*$")


def render(card: Card) -> Json:
    """Return the message: `blocks`, and `text` for notifications and screen readers."""
    fitting = shrink_to_fit(card, _fits)
    return {
        "text": _shorten(_escape(card.summary), LONGEST_TEXT),
        "blocks": list(_blocks(fitting)),
        # An unfurled link would show a page of Relay to the whole channel.
        "unfurl_links": False,
        "unfurl_media": False,
    }


def mark(card: Card) -> Json:
    """Return an attachment for an earlier message: the result that followed."""
    text = f"{card.sign} {_escape(card.title)}: {_code_span(card.name)}"
    return {
        "color": COLOURS[card.tone],
        "fallback": _shorten(_escape(card.summary), LONGEST_TEXT),
        "blocks": [_section(text)],
    }


def _fits(card: Card) -> bool:
    return len(json.dumps(list(_blocks(card)), ensure_ascii=False)) <= LONGEST_BLOCKS


def _blocks(card: Card) -> Iterator[Json]:
    yield _header(f"{card.sign} {card.title}: {card.name}")
    for start in range(0, len(card.facts), MOST_FIELDS):
        facts = card.facts[start : start + MOST_FIELDS]
        yield {"type": "section", "fields": [_text(_fact(fact), LONGEST_FIELD) for fact in facts]}
    if card.problem:
        code = f" ({_code_span(card.code)})" if card.code else ""
        yield _section(f"{_fact(card.problem)}{code}")
    if card.advice:
        yield _section(_fact(card.advice))
    yield from map(_section, _paragraphs(card))
    if card.links:
        yield _section(" · ".join(_link(link) for link in card.links))
    if card.footer:
        yield {"type": "context", "elements": [_text(_escape(card.footer), LONGEST_FIELD)]}


def _paragraphs(card: Card) -> Iterator[str]:
    """Group the lines of a digest into paragraphs of whole lines, so that no link is cut."""
    lines = [_line(line) for line in card.lines]
    if card.more:
        lines.append(_escape(card.more))
    paragraph = ""
    for line in lines:
        if paragraph and len(paragraph) + 1 + len(line) > LONGEST_TEXT:
            yield paragraph
            paragraph = ""
        paragraph += f"\n{line}" if paragraph else line
    if paragraph:
        yield paragraph


def _line(line: Line) -> str:
    link = f" {_link(Link('→', line.url))}" if line.url else ""
    return f"{line.sign} {_code_span(line.name)} {_escape(line.text)}{link}"


def _header(text: str) -> Json:
    # Slack does not document escapes for plain text, so markup characters become look-alikes.
    heading = text.translate(_IN_HEADER)
    if len(heading) > LONGEST_HEADER:
        heading = f"{heading[: LONGEST_HEADER - 1]}…"
    return {"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": False}}


def _section(text: str) -> Json:
    return {"type": "section", "text": _text(text, LONGEST_TEXT)}


def _text(text: str, longest: int) -> Json:
    # Verbatim: Slack does not turn text into links, channels or mentions.
    return {"type": "mrkdwn", "text": _shorten(text, longest), "verbatim": True}


def _shorten(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{_BROKEN_ESCAPE.sub('', text[: longest - 1])}…"


def _fact(fact: Fact) -> str:
    return f"*{fact.label}*\n{_escape(fact.value) if fact.sentence else _code_span(fact.value)}"


def _code_span(text: str) -> str:
    # In a code span only a backtick and the escaped characters are markup.
    return f"`{text.translate(_IN_CODE).translate(_ESCAPES)}`"


def _escape(text: str) -> str:
    escaped = escape_underscores(text.translate(_LOOK_ALIKES))
    escaped = _EMOJI.sub(f":{WORD_JOINER}", escaped)
    return _MENTION.sub(f"@{WORD_JOINER}", escaped).translate(_ESCAPES)


def _link(link: Link) -> str:
    return f"<{link.url.translate(_ESCAPES).replace('|', '%7C')}|{link.label}>"
