"""How values look on a page: hostile text made visible, times, sizes, states in words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask, g, request, session, url_for
from markupsafe import Markup, escape
from pydantic import BaseModel

from relay.config.routing import stem
from relay.model import Delivery, Json, Problem, State
from relay.web.auth import form_token
from relay.web.language import language
from relay.web.texts import phrase

SIGNS = {
    "pending": "○",
    "retrying": "↻",
    "running": "▶",
    "succeeded": "✓",
    "failed": "✕",
    "skipped": "–",
}
"""A state is told by word, sign and colour: never by colour alone."""

UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode categories that a reader cannot see, or that reorder what a reader sees."""

BY_LINK = re.compile(r"link in (?P<channel>\S+) from (?P<address>\S+)")

STEPS = ((86400 * 2, 86400, "days"), (3600 * 2, 3600, "hours"), (100, 60, "minutes"))


def register(app: Flask, clock: Callable[[], datetime]) -> None:
    """Gives the templates their filters and globals."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        visible=visible,
        plain=plain,
        when=lambda moment: when(moment, clock(), language()),
        shown_state=shown_state,
        function_of=function_of,
        words_of=words_of,
        filesize=filesize,
        link=link,
        by_whom=by_whom,
    )
    app.jinja_env.globals.update(
        t=translated,
        signs=SIGNS,
        form_token=form_token,
        language=language,
        address_in=address_in,
        took=lambda start, end: took((end - start).total_seconds(), language()),
        logged_in=lambda: bool(session.get("in")),
        request_id=lambda: g.get("request_id", ""),
    )


def translated(key: str, **values: Any) -> str:
    """The phrase in the reader's language; values come as text and are escaped by the template."""
    return phrase(key, language(), **values)


def visible(text: str, kept: str = "") -> Markup:
    """Text from outside, harmless: markup escaped, what cannot be seen shown as its code point.

    `kept`: unseen characters to leave alone, such as line ends in a block of text.
    """
    shown = "".join(one if one in kept else _seen(one) for one in text)
    return Markup('<bdi class="foreign">{}</bdi>').format(Markup(shown))  # noqa: S704 - escaped


def plain(text: str) -> str:
    """Text from outside where no markup can be, such as a page's title."""
    return "".join("\ufffd" if unicodedata.category(one) in UNSEEN else one for one in text)


def when(moment: datetime, now: datetime, tongue: str) -> Markup:
    """A <time> in relative words, the exact moment in its title."""
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(timespec="milliseconds"),
        utc.strftime("%Y-%m-%d %H:%M:%S UTC"),
        relative((now - moment).total_seconds(), tongue),
    )


def relative(seconds: float, tongue: str) -> str:
    """How long ago, or in how long (negative seconds), in the largest unit that says enough."""
    key = "time.ago" if seconds >= 0 else "time.in"
    if abs(seconds) < 1:
        return phrase("time.now", tongue)
    return phrase(key, tongue, span=took(abs(seconds), tongue))


def took(seconds: float, tongue: str) -> str:
    """A span of time in words."""
    for least, unit, name in STEPS:
        if seconds >= least:
            return phrase(f"time.{name}", tongue, count=round(seconds / unit))
    if seconds >= 10:
        return phrase("time.seconds", tongue, count=round(seconds))
    if seconds >= 1:
        return phrase("time.seconds", tongue, count=f"{seconds:.1f}".removesuffix(".0"))
    return phrase("time.milliseconds", tongue, count=round(seconds * 1000))


def filesize(size: int) -> str:
    """Bytes in binary units, as relay.toml writes them."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def shown_state(delivery: Delivery) -> str:
    """The state as people call it: pending after a failed attempt is retrying."""
    if delivery.state == State.PENDING and delivery.attempts > 0:
        return "retrying"
    return str(delivery.state)


def function_of(delivery: Delivery) -> tuple[str, bool]:
    """The function's name, and whether that is certain: else it is guessed from the key.

    A message that tells of no single function is called by what it tells of.
    """
    if delivery.message and not delivery.key:
        return _about(delivery.message), True
    for known in (delivery.result, (delivery.message or {}).get("body"), delivery.options):
        name = (known or {}).get("func_name")
        if isinstance(name, str) and "{" not in name:
            return name, True
    return stem(delivery.key), False


def _about(message: Json) -> str:
    body = message["body"]
    if message["type"] == "digest":
        return translated("message.digest", count=body["count"])
    return str(body.get("target") or message["type"])


def words_of(problem: Problem) -> tuple[str, str]:
    """A problem's message and hint in the reader's language."""
    return problem.message.in_(language()), problem.hint.in_(language())


def by_whom(who: str) -> str:
    """Who asked for a run, in the reader's language; see Delivery.by."""
    if told := BY_LINK.fullmatch(who):
        return translated("by.link", **told.groupdict())
    return translated(f"by.{who}")


def link(endpoint: str, filters: BaseModel, cursor: str | None) -> str:
    """The list with the same filters, from another cursor on; None: from its beginning."""
    kept = filters.model_dump(mode="json", exclude_defaults=True) | {"cursor": cursor}
    return url_for(endpoint, **kept)


def address_in(tongue: str) -> str:
    """This page in another language, its filters kept."""
    kept = {**request.args.to_dict(), "lang": tongue}
    return f"{request.path}?{urlencode(kept)}"


def _seen(character: str) -> str:
    if unicodedata.category(character) in UNSEEN:
        return f'<span class="odd">U+{ord(character):04X}</span>'
    return str(escape(character))
