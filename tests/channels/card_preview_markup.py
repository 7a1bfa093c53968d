"""Converts the inline markup of chat services to HTML, by the rules of each service.

Only text that a rule matches becomes markup; the rest is escaped. The rules are lenient: they also
match what a service might interpret as a mention or a link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

Converter = Callable[[re.Match[str], "Dialect"], Markup]


@dataclass(frozen=True, slots=True)
class Rule:
    """Converts what a pattern matches. The converter applies all rules to the group `inside`."""

    pattern: re.Pattern[str]
    convert: Converter


@dataclass(frozen=True, slots=True)
class Dialect:
    """The inline markup of a service.

    `entities`: escape sequences and their meaning. `wraps`: a line break is only a space.
    """

    rules: tuple[Rule, ...]
    entities: Mapping[str, str]
    wraps: bool = False


def inline(text: str, dialect: Dialect) -> Markup:
    parts, end = [], 0
    found = [(match, rule) for rule in dialect.rules if (match := rule.pattern.search(text))]
    while found:
        match, rule = min(found, key=lambda item: item[0].start())
        parts += [_plain(text[end : match.start()], dialect), rule.convert(match, dialect)]
        end = match.end()
        # Search again only for the rules whose match overlaps with this match.
        found = [
            (next_match, other)
            for old, other in found
            if (next_match := old if old.start() >= end else other.pattern.search(text, end))
        ]
    return Markup("").join([*parts, _plain(text[end:], dialect)])


def blocks(text: str, dialect: Dialect) -> Markup:
    """Convert the Markdown that robots support: headings, quotations, lists, paragraphs."""
    groups: list[tuple[str, list[str]]] = []
    for line in text.split("\n"):
        kind, rest = _kind(line)
        joins = groups and groups[-1][0] == kind and kind != "heading"
        if joins and (kind != "p" or dialect.wraps):
            groups[-1][1].append(rest)
        else:
            groups.append((kind, [rest]))
    return Markup("").join(_block(kind, lines, dialect) for kind, lines in groups)


def _kind(line: str) -> tuple[str, str]:
    for kind, pattern in _BLOCKS:
        if match := pattern.match(line):
            return kind, line[match.end() :]
    return ("p", line) if line.strip() else ("", "")


def _block(kind: str, lines: list[str], dialect: Dialect) -> Markup:
    converted = [inline(line, dialect) for line in lines]
    match kind:
        case "heading":
            return Markup("<h3>{}</h3>").format(converted[0])
        case "quote":
            return Markup("<blockquote>{}</blockquote>").format(Markup("<br>").join(converted))
        case "list":
            items = Markup("").join(Markup("<li>{}</li>").format(line) for line in converted)
            return Markup("<ul>{}</ul>").format(items)
        case "p":
            return Markup("<p>{}</p>").format(Markup(" ").join(converted))
        case _:
            return Markup("")


def _plain(text: str, dialect: Dialect) -> Markup:
    for entity, meaning in dialect.entities.items():
        text = text.replace(entity, meaning)
    line_break = Markup(" ") if dialect.wraps else Markup("<br>")
    return line_break.join(map(escape, text.split("\n")))


def _tag(pattern: str, tag: str) -> Rule:
    def convert(match: re.Match[str], dialect: Dialect) -> Markup:
        return Markup("<{0}>{1}</{0}>").format(tag, inline(match["inside"], dialect))

    return Rule(re.compile(pattern), convert)


def _code(match: re.Match[str], dialect: Dialect) -> Markup:
    return Markup("<code>{}</code>").format(_plain(match["inside"], dialect))


def _link(match: re.Match[str], dialect: Dialect) -> Markup:
    url = _plain(match["url"], dialect)
    label = match["inside"]
    return Markup('<a href="{}">{}</a>').format(url, inline(label, dialect) if label else url)


def _mention(match: re.Match[str], _: Dialect) -> Markup:
    return Markup('<span class="mention">{}</span>').format(match[0])


def _font(match: re.Match[str], dialect: Dialect) -> Markup:
    colour = _NAMED_COLOURS.get(match["colour"], match["colour"])
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
_NAMED_COLOURS = {"info": "#06ae56", "comment": "#8c8c8c", "warning": "#ff8800"}

_CODE_SPAN = Rule(re.compile(r"`(?P<inside>[^`\n]+)`"), _code)
_BOLD = _tag(r"\*\*(?P<inside>[^\n]+?)\*\*", "strong")
_ITALIC = _tag(r"(?<![\w*])\*(?P<inside>[^*\n]+)\*(?![\w*])", "em")
_UNDERSCORE_ITALIC = _tag(r"(?<![\w_])_(?P<inside>[^_\n]+)_(?![\w_])", "em")
_STRIKE = _tag(r"~~(?P<inside>[^\n]+?)~~", "s")
_MARKDOWN_LINK = Rule(re.compile(r"\[(?P<inside>[^\]\n]*)\]\((?P<url>https?://[^()\s]+)\)"), _link)
_BARE_URL = Rule(re.compile(r"(?P<inside>)(?P<url>https?://[^\s<>()]+)"), _link)
_FONT_TAG = Rule(
    re.compile(r"<font color=[\"']?(?P<colour>[#\w]+)[\"']?>(?P<inside>.*?)</font>"), _font
)
_EVERYONE = Rule(re.compile(r"@(?:everyone|here|all|channel)\b"), _mention)

SLACK = Dialect(
    (
        _CODE_SPAN,
        Rule(re.compile(r"<(?P<url>https?://[^|>\s]+)(?:\|(?P<inside>[^>\n]*))?>"), _link),
        Rule(re.compile(r"<[!@#][^>\n]+>"), _mention),
        _tag(r"(?<![\w*])\*(?P<inside>[^*\n]+)\*(?![\w*])", "strong"),
        _UNDERSCORE_ITALIC,
        _tag(r"(?<![\w~])~(?P<inside>[^~\n]+)~(?![\w~])", "s"),
    ),
    {"&lt;": "<", "&gt;": ">", "&amp;": "&"},
)
TEAMS = Dialect((_MARKDOWN_LINK, _BOLD, _ITALIC, _UNDERSCORE_ITALIC, _BARE_URL), {})
DISCORD = Dialect(
    (
        _CODE_SPAN,
        _MARKDOWN_LINK,
        Rule(re.compile(r"<(?:@[!&]?|#|a?:\w+:|t:)\d+[^>\n]*>"), _mention),
        _EVERYONE,
        _BOLD,
        _tag(r"__(?P<inside>[^\n]+?)__", "u"),
        _ITALIC,
        _UNDERSCORE_ITALIC,
        _STRIKE,
        _BARE_URL,
    ),
    {},
)
FEISHU = Dialect(
    (
        _MARKDOWN_LINK,
        Rule(re.compile(r"<at\b[^>\n]*>(?:[^<\n]*</at>)?"), _mention),
        _FONT_TAG,
        _BOLD,
        _ITALIC,
        _STRIKE,
        _BARE_URL,
    ),
    {},
)
DINGTALK = Dialect(
    (_MARKDOWN_LINK, _FONT_TAG, _BOLD, _ITALIC, _EVERYONE, _BARE_URL), {}, wraps=True
)
WECOM = Dialect(
    (
        _CODE_SPAN,
        _MARKDOWN_LINK,
        _FONT_TAG,
        Rule(re.compile(r"<@[^>\n]+>"), _mention),
        _BOLD,
        _BARE_URL,
    ),
    {},
)
