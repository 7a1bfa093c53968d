"""The inline markup of chat services as HTML, each by its service's own rules. Pure.

Only what a rule makes of it becomes markup; all else is escaped. Rules are read leniently, so that
what a service might take for a mention or a link is seen as one here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

Made = Callable[[re.Match[str], "Dialect"], Markup]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a pattern becomes; its group `inside` is read by the same rules."""

    pattern: re.Pattern[str]
    made: Made


@dataclass(frozen=True, slots=True)
class Dialect:
    """One service's inline markup. `entities`: what stands for what in plain text. `wraps`:
    whether a line's end is only a space."""

    rules: tuple[Rule, ...]
    entities: Mapping[str, str]
    wraps: bool = False


def inline(text: str, dialect: Dialect) -> Markup:
    """The text as HTML."""
    made, end = [], 0
    ahead = [(match, rule) for rule in dialect.rules if (match := rule.pattern.search(text))]
    while ahead:
        match, rule = min(ahead, key=lambda one: one[0].start())
        made += [_plain(text[end : match.start()], dialect), rule.made(match, dialect)]
        end = match.end()
        # What is still ahead of a rule need not be looked for again.
        ahead = [
            (kept, one)
            for old, one in ahead
            if (kept := old if old.start() >= end else one.pattern.search(text, end))
        ]
    return Markup("").join([*made, _plain(text[end:], dialect)])


def blocks(text: str, dialect: Dialect) -> Markup:
    """Markdown as HTML, as far as robots read it: headings, quotations, lists, paragraphs."""
    made: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        kind, rest = _kind(line)
        joins = made and made[-1][0] == kind and kind != "heading"
        if joins and (kind != "p" or dialect.wraps):
            made[-1][1].append(rest)
        else:
            made.append((kind, [rest]))
    return Markup("").join(_block(kind, lines, dialect) for kind, lines in made)


def _kind(line: str) -> tuple[str, str]:
    for kind, pattern in _BLOCKS:
        if match := pattern.match(line):
            return kind, line[match.end() :]
    return ("p", line) if line.strip() else ("", "")


def _block(kind: str, lines: list[str], dialect: Dialect) -> Markup:
    told = [inline(line, dialect) for line in lines]
    match kind:
        case "heading":
            return Markup("<h3>{}</h3>").format(told[0])
        case "quote":
            return Markup("<blockquote>{}</blockquote>").format(Markup("<br>").join(told))
        case "list":
            each = Markup("").join(Markup("<li>{}</li>").format(one) for one in told)
            return Markup("<ul>{}</ul>").format(each)
        case "p":
            return Markup("<p>{}</p>").format(Markup(" ").join(told))
        case _:
            return Markup("")


def _plain(text: str, dialect: Dialect) -> Markup:
    for entity, meant in dialect.entities.items():
        text = text.replace(entity, meant)
    between = Markup(" ") if dialect.wraps else Markup("<br>")
    return between.join(map(escape, text.split("\n")))


def _tag(pattern: str, tag: str) -> Rule:
    def made(match: re.Match[str], dialect: Dialect) -> Markup:
        return Markup("<{0}>{1}</{0}>").format(tag, inline(match["inside"], dialect))

    return Rule(re.compile(pattern), made)


def _code(match: re.Match[str], dialect: Dialect) -> Markup:
    return Markup("<code>{}</code>").format(_plain(match["inside"], dialect))


def _link(match: re.Match[str], dialect: Dialect) -> Markup:
    url = _plain(match["url"], dialect)
    label = match["inside"]
    return Markup('<a href="{}">{}</a>').format(url, inline(label, dialect) if label else url)


def _mention(match: re.Match[str], _: Dialect) -> Markup:
    return Markup('<span class="mention">{}</span>').format(match[0])


def _font(match: re.Match[str], dialect: Dialect) -> Markup:
    colour = _NAMED.get(match["colour"], match["colour"])
    if not _COLOUR.fullmatch(colour):
        colour = "inherit"
    inside = inline(match["inside"], dialect)
    return Markup('<span style="color: {}">{}</span>').format(colour, inside)


_BLOCKS = (
    ("heading", re.compile(r"#{1,6} +")),
    ("quote", re.compile(r"> ?")),
    ("list", re.compile(r"[-*] +")),
)
_COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-z]{1,20}")
_NAMED = {"info": "#06ae56", "comment": "#8c8c8c", "warning": "#ff8800"}

_SPAN = Rule(re.compile(r"`(?P<inside>[^`\n]+)`"), _code)
_BOLD = _tag(r"\*\*(?P<inside>[^\n]+?)\*\*", "strong")
_ITALIC = _tag(r"(?<![\w*])\*(?P<inside>[^*\n]+)\*(?![\w*])", "em")
_LOW = _tag(r"(?<![\w_])_(?P<inside>[^_\n]+)_(?![\w_])", "em")
_STRUCK = _tag(r"~~(?P<inside>[^\n]+?)~~", "s")
_TO = Rule(re.compile(r"\[(?P<inside>[^\]\n]*)\]\((?P<url>https?://[^()\s]+)\)"), _link)
_BARE = Rule(re.compile(r"(?P<inside>)(?P<url>https?://[^\s<>()]+)"), _link)
_FONT = Rule(
    re.compile(r"<font color=[\"']?(?P<colour>[#\w]+)[\"']?>(?P<inside>.*?)</font>"), _font
)
_EVERYONE = Rule(re.compile(r"@(?:everyone|here|all|channel)\b"), _mention)

SLACK = Dialect(
    (
        _SPAN,
        Rule(re.compile(r"<(?P<url>https?://[^|>\s]+)(?:\|(?P<inside>[^>\n]*))?>"), _link),
        Rule(re.compile(r"<[!@#][^>\n]+>"), _mention),
        _tag(r"(?<![\w*])\*(?P<inside>[^*\n]+)\*(?![\w*])", "strong"),
        _LOW,
        _tag(r"(?<![\w~])~(?P<inside>[^~\n]+)~(?![\w~])", "s"),
    ),
    {"&lt;": "<", "&gt;": ">", "&amp;": "&"},
)
TEAMS = Dialect((_TO, _BOLD, _ITALIC, _LOW, _BARE), {})
DISCORD = Dialect(
    (
        _SPAN,
        _TO,
        Rule(re.compile(r"<(?:@[!&]?|#|a?:\w+:|t:)\d+[^>\n]*>"), _mention),
        _EVERYONE,
        _BOLD,
        _tag(r"__(?P<inside>[^\n]+?)__", "u"),
        _ITALIC,
        _LOW,
        _STRUCK,
        _BARE,
    ),
    {},
)
FEISHU = Dialect(
    (
        _TO,
        Rule(re.compile(r"<at\b[^>\n]*>(?:[^<\n]*</at>)?"), _mention),
        _FONT,
        _BOLD,
        _ITALIC,
        _STRUCK,
        _BARE,
    ),
    {},
)
DINGTALK = Dialect((_TO, _FONT, _BOLD, _ITALIC, _EVERYONE, _BARE), {}, wraps=True)
WECOM = Dialect((_SPAN, _TO, _FONT, Rule(re.compile(r"<@[^>\n]+>"), _mention), _BOLD, _BARE), {})
