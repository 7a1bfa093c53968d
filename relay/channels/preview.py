"""What a channel posts, as HTML that looks about as its service shows it. Pure.

Made from the JSON that is posted, not from the card: what is wrong there is wrong here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup, escape

from relay.channels import preview_markup as markup
from relay.model import Json

NAMES = {
    "slack": "Slack",
    "teams": "Microsoft Teams",
    "discord": "Discord",
    "feishu": "飞书 Feishu",
    "lark": "Lark",
    "dingtalk": "钉钉 DingTalk",
    "wecom": "企业微信 WeCom",
}
"""The services whose looks we know; what is posted to another is shown as JSON."""

_DIALECTS = {
    "slack": markup.SLACK,
    "teams": markup.TEAMS,
    "discord": markup.DISCORD,
    "feishu": markup.FEISHU,
    "lark": markup.FEISHU,
    "dingtalk": markup.DINGTALK,
    "wecom": markup.WECOM,
}
_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=\s*:))|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d[\d.eE+-]*)|(?P<word>true|false|null)"
)


def render_page(shown: Iterable[tuple[str, Json]], language: str) -> str:
    """A page of its own that shows each message: the kind of its channel, and what it posts."""
    return _PAGE.render(shown=list(shown), language=language, names=NAMES)


def _inline(text: object, kind: str) -> Markup:
    return markup.inline(_text(text), _DIALECTS[kind])


def _blocks(text: object, kind: str) -> Markup:
    return markup.blocks(_text(text), _DIALECTS[kind])


def _coloured(value: object) -> Markup:
    """JSON with a colour for each sort of thing in it."""
    text, made, end = json.dumps(value, indent=2, ensure_ascii=False), [], 0
    for token in _TOKEN.finditer(text):
        made.append(escape(text[end : token.start()]))
        made.append(Markup('<span class="{}">{}</span>').format(token.lastgroup, token[0]))
        end = token.end()
    return Markup("").join([*made, escape(text[end:])])


def _colour(number: object) -> str:
    """A colour as Discord numbers it."""
    return f"#{number & 0xFFFFFF:06x}" if isinstance(number, int) else "#e3e5e8"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("relay.web"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(inline=_inline, blocks=_blocks, coloured=_coloured, colour=_colour)
    return made


_PAGE = _environment().get_template("preview.html")
