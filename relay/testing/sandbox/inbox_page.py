"""The messages in the inbox and the page that shows them, newest first; content is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from flask import Response
from jinja2 import Environment

from relay.model import Json

MAX_SHOWN = 100

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
<p class="lead">{{ count }} message{{ "" if count == 1 else "s" }}. Relay posts here
instead of in a team chat.</p>
{% for message in messages %}
<article>
<header>
<b>{{ message.channel }}</b>
{% if message.result %}<span class="{{ message.result }}">
{{- message.mark }} {{ message.result }}</span>{% endif %}
{% if message.verified is not none %}
<span class="{{ "succeeded" if message.verified else "failed" }}">
{{- "signature verified" if message.verified else "signature WRONG" }}</span>{% endif %}
{% if message.repeat > 1 %}<span>repeated, no. {{ message.repeat }}</span>{% endif %}
<span>response: {{ message.response }}</span>
<time>{{ message.time }}</time>
</header>
{% if message.text %}<p class="words">{{ message.text }}</p>{% endif %}
{% if message.facts %}<dl>{% for name, value in message.facts %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>{% endif %}
<details><summary>as received: POST {{ message.path }}</summary>
<pre>{{ message.headers }}

{{ message.raw }}</pre></details>
</article>
{% else %}<p>Nothing yet.</p>
{% endfor %}
</body>
</html>
"""

_TEMPLATE = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A request as received. Header names are lower-case; `json` is None for other content.

    `verified` is None if nothing is signed. `repeat` counts the messages with the same webhook-id.
    `status` is the status of the response, or None after a reset.
    """

    channel: str
    path: str
    received: datetime
    headers: Mapping[str, str]
    body: str
    json: Json | None
    verified: bool | None
    status: int | None
    repeat: int = 1

    @property
    def webhook_id(self) -> str | None:
        return self.headers.get("webhook-id")

    def to_json(self) -> Json:
        return asdict(self) | {"received": self.received.isoformat()}


def render(messages: Sequence[ReceivedMessage]) -> Response:
    """Render the last hundred messages. The page has no scripts and loads no resources."""
    shown = [_context(message) for message in messages[: -MAX_SHOWN - 1 : -1]]
    page = Response(_TEMPLATE.render(messages=shown, count=len(messages)))
    page.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    page.headers["X-Content-Type-Options"] = "nosniff"
    return page


def _context(message: ReceivedMessage) -> Json:
    content = message.json or {}
    result = str(content.get("type", "")).removeprefix("import.")
    raw = json.dumps(message.json, indent=2, ensure_ascii=False) if message.json else message.body
    return {
        "channel": message.channel,
        "path": message.path,
        "time": message.received.strftime("%H:%M:%S"),
        "verified": message.verified,
        "repeat": message.repeat,
        "response": message.status if message.status is not None else "connection reset",
        "result": result if result in _MARKS else "",
        "mark": _MARKS.get(result, ""),
        "text": _text(content),
        "facts": _facts(content.get("data")),
        "headers": "\n".join(f"{name}: {value}" for name, value in message.headers.items()),
        "raw": raw,
    }


def _text(content: Json) -> str:
    """Return the text of a Slack message and of all blocks."""
    texts = [content["text"]] if isinstance(content.get("text"), str) else []
    blocks = content.get("blocks")
    for block in blocks if isinstance(blocks, list) else []:
        texts.extend(_texts(block, 4))
    return "\n".join(texts)


def _texts(value: Any, depth: int) -> list[str]:
    if isinstance(value, dict):
        inner = value.get("text")
        if isinstance(inner, str):
            return [inner]
        value = list(value.values())
    if isinstance(value, list) and depth:
        return [text for item in value for text in _texts(item, depth - 1)]
    return []


def _facts(content: Any) -> list[tuple[str, str]]:
    if not isinstance(content, dict):
        return []
    facts: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, dict):
            facts.extend((f"{name}: {key}", str(inner)) for key, inner in value.items() if inner)
        elif value is not None:
            facts.append((str(name), str(value)))
    return facts
