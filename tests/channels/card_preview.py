"""Shows posted messages as HTML, similar to how their services show them.

The input is the JSON that is posted, not the card, so that mistakes in the JSON become visible.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup, escape

from relay.model import Json
from tests.channels import card_preview_markup as markup

NAMES = {
    "slack": "Slack",
    "teams": "Microsoft Teams",
    "discord": "Discord",
    "feishu": "飞书 Feishu",
    "lark": "Lark",
    "dingtalk": "钉钉 DingTalk",
    "wecom": "企业微信 WeCom",
}
"""Services with a layout of their own; messages of other kinds are shown as JSON."""

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


def render_page(messages: Iterable[tuple[str, Json]], language: str) -> str:
    """Return a page that shows each message, given as kind of the channel and posted JSON."""
    return _PAGE.render(messages=list(messages), language=language, names=NAMES)


def _inline(text: object, kind: str) -> Markup:
    return markup.inline(_text(text), _DIALECTS[kind])


def _blocks(text: object, kind: str) -> Markup:
    return markup.blocks(_text(text), _DIALECTS[kind])


def _highlight(value: object) -> Markup:
    """Return JSON with syntax highlighting."""
    text, parts, end = json.dumps(value, indent=2, ensure_ascii=False), [], 0
    for token in _TOKEN.finditer(text):
        parts.append(escape(text[end : token.start()]))
        parts.append(Markup('<span class="{}">{}</span>').format(token.lastgroup, token[0]))
        end = token.end()
    return Markup("").join([*parts, escape(text[end:])])


def _colour(number: object) -> str:
    """Convert a colour from Discord's integer to CSS."""
    return f"#{number & 0xFFFFFF:06x}" if isinstance(number, int) else "#e3e5e8"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(inline=_inline, blocks=_blocks, highlight=_highlight, colour=_colour)
    return environment


_PAGE = _environment().get_template("card_preview.html")
