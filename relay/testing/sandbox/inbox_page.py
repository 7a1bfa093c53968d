"""The inbox's page: what the team was told, the newest first. Everything on it is escaped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol

from flask import Response
from jinja2 import Environment

from relay.model import Json

SHOWN = 100

_MARKS = {"succeeded": "✓", "failed": "✗", "skipped": "–"}

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Inbox ({{ count }})</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f47; --bad: #c62f36; }
@media (prefers-color-scheme: dark) { :root { --good: #4cc38a; --bad: #ff8f94; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2.5rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
.lead { margin: .25rem 0 2rem; opacity: .75; }
article { border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem;
  margin: 0 0 1rem; }
header { display: flex; flex-wrap: wrap; gap: .3rem .8rem; align-items: baseline;
  font-size: .85rem; }
header b { font-size: .95rem; }
header time { margin-left: auto; opacity: .75; font-variant-numeric: tabular-nums; }
.succeeded { color: var(--good); } .failed { color: var(--bad); }
.words { margin: .6rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .6rem 0; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
details { margin-top: .5rem; font-size: .85rem; } summary { cursor: pointer; opacity: .75; }
pre { background: var(--soft); padding: .8rem; border-radius: .4rem; overflow: auto;
  max-height: 24rem; }
</style>
</head>
<body>
<h1>Inbox</h1>
<p class="lead">{{ count }} message{{ "" if count == 1 else "s" }}. What Relay tells the team
arrives here, as it would in a chat.</p>
{% for one in letters %}
<article>
<header>
<b>{{ one.channel }}</b>
{% if one.result %}<span class="{{ one.result }}">{{ one.mark }} {{ one.result }}</span>{% endif %}
{% if one.verified is not none %}<span class="{{ "succeeded" if one.verified else "failed" }}">
{{- "signature verified" if one.verified else "signature WRONG" }}</span>{% endif %}
{% if one.repeat > 1 %}<span>sent again, no. {{ one.repeat }}</span>{% endif %}
<span>answered {{ one.answered }}</span>
<time>{{ one.time }}</time>
</header>
{% if one.words %}<p class="words">{{ one.words }}</p>{% endif %}
{% if one.facts %}<dl>{% for name, value in one.facts %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>{% endif %}
<details><summary>as received: POST {{ one.path }}</summary>
<pre>{{ one.headers }}

{{ one.raw }}</pre></details>
</article>
{% else %}<p>Nothing yet.</p>
{% endfor %}
</body>
</html>
"""

_TEMPLATE = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)


class Letter(Protocol):
    """What the page reads of a message."""

    @property
    def channel(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def received(self) -> Any: ...
    @property
    def headers(self) -> Any: ...
    @property
    def body(self) -> str: ...
    @property
    def json(self) -> Json | None: ...
    @property
    def verified(self) -> bool | None: ...
    @property
    def repeat(self) -> int: ...
    @property
    def status(self) -> int | None: ...


def render(messages: Sequence[Letter]) -> Response:
    """The page of the last hundred messages. No script, nothing loaded from anywhere."""
    letters = [_letter(one) for one in messages[: -SHOWN - 1 : -1]]
    page = Response(_TEMPLATE.render(letters=letters, count=len(messages)))
    page.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    page.headers["X-Content-Type-Options"] = "nosniff"
    return page


def _letter(message: Letter) -> Json:
    content = message.json or {}
    result = str(content.get("type", "")).removeprefix("import.")
    raw = json.dumps(message.json, indent=2, ensure_ascii=False) if message.json else message.body
    return {
        "channel": message.channel,
        "path": message.path,
        "time": message.received.strftime("%H:%M:%S"),
        "verified": message.verified,
        "repeat": message.repeat,
        "answered": message.status if message.status is not None else "with a reset",
        "result": result if result in _MARKS else "",
        "mark": _MARKS.get(result, ""),
        "words": _words(content),
        "facts": _facts(content.get("data")),
        "headers": "\n".join(f"{name}: {value}" for name, value in message.headers.items()),
        "raw": raw,
    }


def _words(content: Json) -> str:
    """Slack's text, and every text in its blocks."""
    words = [content["text"]] if isinstance(content.get("text"), str) else []
    blocks = content.get("blocks")
    for block in blocks if isinstance(blocks, list) else []:
        words.extend(_texts(block, 4))
    return "\n".join(words)


def _texts(value: Any, depth: int) -> list[str]:
    if isinstance(value, dict):
        inner = value.get("text")
        if isinstance(inner, str):
            return [inner]
        value = list(value.values())
    if isinstance(value, list) and depth:
        return [text for one in value for text in _texts(one, depth - 1)]
    return []


def _facts(content: Any) -> list[tuple[str, str]]:
    if not isinstance(content, dict):
        return []
    facts: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, dict):
            facts.extend((f"{name}: {key}", str(one)) for key, one in value.items() if one)
        elif value is not None:
            facts.append((str(name), str(value)))
    return facts
