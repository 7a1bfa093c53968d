"""Template filters and globals: foreign text made visible, times, sizes, states, names."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask, g, request, session, url_for
from markupsafe import Markup, escape
from pydantic import BaseModel

from relay.channels.messages import warnings_of
from relay.config.routing import stem
from relay.config.text import format_size, is_invisible
from relay.errors import Superseded
from relay.model import Delivery, Difference, Kind, Localized, Problem, State
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
"""Signs of the states, so that colour is not the only difference."""

BY_LINK = re.compile(r"link in (?P<channel>\S+) from (?P<address>\S+)")

UNITS = ((86400 * 2, 86400, "days"), (3600 * 2, 3600, "hours"), (100, 60, "minutes"))
"""Per unit: the shortest duration it is used for, the length in seconds, and the name."""


def register(app: Flask, clock: Callable[[], datetime]) -> None:
    """Install the filters and globals."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        visible=visible,
        plain=plain,
        when=lambda moment: time_element(moment, clock(), language()),
        shown_state=shown_state,
        shown_reason=shown_reason,
        function_of=function_of,
        localized=localized,
        filesize=format_size,
        link=list_address,
        trigger_origin=trigger_origin,
        change=change,
        warnings=warnings,
    )
    app.jinja_env.globals.update(
        t=translated,
        signs=SIGNS,
        form_token=form_token,
        language=language,
        address_in=address_in,
        duration=lambda start, end: duration((end - start).total_seconds(), language()),
        logged_in=lambda: bool(session.get("in")),
        request_id=lambda: g.get("request_id", ""),
    )


def change(difference: Any) -> str:
    """Describe the change of a setting; a plug-in may store anything as a difference."""
    if not isinstance(difference, dict):
        return str(difference)
    return Difference.from_json(difference).words.in_language(language())


def warnings(result: Any) -> list[tuple[str, str]]:
    """Return the text and the place of each warning in the language of the request."""
    return [
        (Localized(**warning["message"]).in_language(language()), warning["where"] or "")
        for warning in warnings_of(result)
    ]


def translated(key: str, **values: Any) -> str:
    """Return the phrase in the language of the request; the template escapes the values."""
    return phrase(key, language(), **values)


def visible(text: str, kept: str = "") -> Markup:
    """Escape foreign text and show invisible characters, except `kept`, as code points."""
    shown = "".join(
        f'<span class="odd">U+{ord(character):04X}</span>'
        if is_invisible(character) and character not in kept
        else escape(character)
        for character in text
    )
    return Markup('<bdi class="foreign">{}</bdi>').format(Markup(shown))  # noqa: S704 - escaped


def plain(text: str) -> str:
    """Replace invisible characters of foreign text, for places without markup such as <title>."""
    return "".join("\ufffd" if is_invisible(character) else character for character in text)


def time_element(moment: datetime, now: datetime, language: str) -> Markup:
    """Return a <time> element with the relative time; the title has the exact time."""
    utc = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(timespec="milliseconds"),
        utc.strftime("%Y-%m-%d %H:%M:%S UTC"),
        relative_time((now - moment).total_seconds(), language),
    )


def relative_time(seconds: float, language: str) -> str:
    """Format a time `seconds` ago, or in the future if negative."""
    if abs(seconds) < 1:
        return phrase("time.now", language)
    key = "time.ago" if seconds >= 0 else "time.in"
    return phrase(key, language, span=duration(abs(seconds), language))


def duration(seconds: float, language: str) -> str:
    """Format a duration in the largest suitable unit."""
    for least, unit, name in UNITS:
        if seconds >= least:
            return phrase(f"time.{name}", language, count=round(seconds / unit))
    if seconds >= 10:
        return phrase("time.seconds", language, count=round(seconds))
    if seconds >= 1:
        return phrase("time.seconds", language, count=f"{seconds:.1f}".removesuffix(".0"))
    return phrase("time.milliseconds", language, count=round(seconds * 1000))


def shown_state(delivery: Delivery) -> str:
    """Return the state; a delivery pending after a failed attempt is shown as retrying."""
    if delivery.state == State.PENDING and delivery.attempts > 0:
        return "retrying"
    return str(delivery.state)


def shown_reason(delivery: Delivery) -> str:
    """Return the reason of a skipped delivery; a superseded message is shown as replaced."""
    is_replaced = delivery.kind == Kind.MESSAGE and delivery.reason == Superseded.reason
    return "replaced" if is_replaced else str(delivery.reason)


def function_of(delivery: Delivery) -> tuple[str, bool]:
    """Return the function name, and whether it is certain or guessed from the key.

    A message that is not about a single function is named after the digest or the target.
    """
    if delivery.message and not delivery.key:
        body = delivery.message["body"]
        if delivery.message["type"] == "digest":
            return translated("message.digest", count=body["count"]), True
        return str(body.get("target") or delivery.message["type"]), True
    for values in (delivery.result, (delivery.message or {}).get("body"), delivery.options):
        name = (values or {}).get("func_name")
        if isinstance(name, str) and "{" not in name:
            return name, True
    return stem(delivery.key), False


def localized(problem: Problem) -> tuple[str, str]:
    """Return the message and the hint of a problem in the language of the request."""
    return problem.message.in_language(language()), problem.hint.in_language(language())


def trigger_origin(by: str) -> str:
    """Describe where a manual retrigger came from; see Delivery.by."""
    if link := BY_LINK.fullmatch(by):
        return translated("by.link", **link.groupdict())
    return translated(f"by.{by}")


def list_address(endpoint: str, filters: BaseModel, cursor: str | None) -> str:
    """Return the address of a list with these filters, from `cursor` or from the beginning."""
    parameters = filters.model_dump(mode="json", exclude_defaults=True) | {"cursor": cursor}
    return url_for(endpoint, **parameters)


def address_in(language: str) -> str:
    """Return the address of the current page, with the same filters, in another language."""
    return f"{request.path}?{urlencode({**request.args.to_dict(), 'lang': language})}"
