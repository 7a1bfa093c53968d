"""Lays a card out as Slack's Block Kit.

Source: docs.slack.dev, "Block Kit" and "Formatting message text". The limit over all blocks is not
documented: Slack refuses more than about 13,000 characters as msg_blocks_too_long (bolt-js #2509).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from relay.channels.card import Card, Fact, Line, Link, shrink_to_fit
from relay.model import Json

LONGEST_HEADER = 150
LONGEST_TEXT = 3000
LONGEST_FIELD = 2000
LONGEST_BLOCKS = 12_000
MOST_FIELDS = 10

COLOURS = {"good": "#2eb67d", "bad": "#e01e5a", "neutral": "#9aa0a6", "warning": "#ecb22e"}

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_HEADING = str.maketrans({"&": "＆", "<": "‹", ">": "›"})
_CODE = str.maketrans({"`": "ˋ"})
_MARKUP = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})
_ITALIC = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_EMOJI = re.compile(r":(?=[\w+'-]+:)")
_MENTION = re.compile(r"@(?=\w)")
_BROKEN_ESCAPE = re.compile(r"&[a-z]*$")
_WORD_JOINER = "\u2060"


def render(shown: Card) -> Json:
    """The card as Block Kit: `blocks`, and `text` for previews and screen readers."""
    fitting = shrink_to_fit(shown, _fits)
    return {
        "text": _fit(_prose(shown.summary), LONGEST_TEXT),
        "blocks": list(_blocks(fitting)),
        # A preview would fetch the links, and show a page of ours to the whole channel.
        "unfurl_links": False,
        "unfurl_media": False,
    }


def mark(shown: Card) -> Json:
    """What a message that is already there gets put beneath it: an attachment with the result."""
    told = f"{shown.sign} {_prose(shown.title)}: {_value(shown.name)}"
    return {
        "color": COLOURS[shown.tone],
        "fallback": _fit(_prose(shown.summary), LONGEST_TEXT),
        "blocks": [_section(told)],
    }


def _fits(shown: Card) -> bool:
    return len(json.dumps(list(_blocks(shown)), ensure_ascii=False)) <= LONGEST_BLOCKS


def _blocks(shown: Card) -> Iterator[Json]:
    yield _header(f"{shown.sign} {shown.title}: {shown.name}")
    for start in range(0, len(shown.facts), MOST_FIELDS):
        some = shown.facts[start : start + MOST_FIELDS]
        yield {"type": "section", "fields": [_text(_fact(fact), LONGEST_FIELD) for fact in some]}
    if shown.problem:
        code = f" ({_value(shown.code)})" if shown.code else ""
        yield _section(f"{_fact(shown.problem)}{code}")
    if shown.advice:
        yield _section(_fact(shown.advice))
    yield from map(_section, _paragraphs(shown))
    if shown.links:
        yield _section(" · ".join(_link(link) for link in shown.links))
    if shown.footer:
        yield {"type": "context", "elements": [_text(_prose(shown.footer), LONGEST_FIELD)]}


def _paragraphs(shown: Card) -> Iterator[str]:
    """A digest's deliveries, as many in a paragraph as go in whole, so that no link is cut."""
    told = [_line(line) for line in shown.lines]
    if shown.more:
        told.append(_prose(shown.more))
    paragraph = ""
    for line in told:
        if paragraph and len(paragraph) + 1 + len(line) > LONGEST_TEXT:
            yield paragraph
            paragraph = ""
        paragraph += f"\n{line}" if paragraph else line
    if paragraph:
        yield paragraph


def _line(line: Line) -> str:
    where = f" {_link(Link('→', line.url))}" if line.url else ""
    return f"{line.sign} {_value(line.name)} {_prose(line.text)}{where}"


def _header(text: str) -> Json:
    # Plain text knows no escapes for sure, so what could be markup becomes its look-alike.
    heading = text.translate(_HEADING)
    if len(heading) > LONGEST_HEADER:
        heading = f"{heading[: LONGEST_HEADER - 1]}…"
    return {"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": False}}


def _section(text: str) -> Json:
    return {"type": "section", "text": _text(text, LONGEST_TEXT)}


def _text(text: str, longest: int) -> Json:
    # Verbatim: Slack makes no links, channels or mentions of what merely looks like one.
    return {"type": "mrkdwn", "text": _fit(text, longest), "verbatim": True}


def _fit(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{_BROKEN_ESCAPE.sub('', text[: longest - 1])}…"


def _fact(fact: Fact) -> str:
    return f"*{fact.label}*\n{_prose(fact.value) if fact.sentence else _value(fact.value)}"


def _value(text: str) -> str:
    # In a code span nothing is markup but a backtick and what is escaped anyway.
    return f"`{text.translate(_CODE).translate(_ESCAPES)}`"


def _prose(text: str) -> str:
    told = _ITALIC.sub(lambda match: "ˍ" * len(match[0]), text.translate(_MARKUP))
    told = _EMOJI.sub(f":{_WORD_JOINER}", told)
    return _MENTION.sub(f"@{_WORD_JOINER}", told).translate(_ESCAPES)


def _link(link: Link) -> str:
    return f"<{link.url.translate(_ESCAPES).replace('|', '%7C')}|{link.label}>"
