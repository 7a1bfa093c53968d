"""Builds the card of a message: the content in the language of a channel, safe to show.

Every chat channel renders the same card, each in the form of the service. The strings have a
limited length and contain no control characters or direction marks; the channel escapes the
markup of the service.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from relay.channels.card_texts import (
    CHANGES,
    COUNTED,
    DIGEST,
    LABELS,
    MORE,
    SIGNS,
    TEST,
    TESTED,
    TITLES,
    TONES,
    Tone,
)
from relay.channels.messages import localize
from relay.config.text import format_size, one_line
from relay.model import Difference, Json, Localized

LONGEST_VALUE = 200
"""Characters of a name, key or URN that are shown."""

LONGEST_CODE = 80
LONGEST_SENTENCE = 500
MOST_LINES = 12
"""Deliveries of a digest that are listed; failures come first."""

_LONGEST_SCANNED = 4096
_LINKS = (("open", "delivery"), ("list", "deliveries"), ("retrigger", "retrigger"))
"""Label and key in the body of each link."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled value. `sentence`: text written by Relay; else a foreign name, shown exactly."""

    label: str
    value: str
    sentence: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A link for readers. The URL consists of public_url and Relay's own ids, not foreign text."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Line:
    """A delivery of a digest.

    `name`: of the function, or of the object. `text`: the result, and the reason or error.
    `url`: page of the delivery; None without a public_url.
    """

    sign: str
    name: str
    text: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Card:
    """A message, ready to be rendered.

    `result`: succeeded, recovered, failed, skipped, down, up, missing or digest.
    `sign`, `title`: the result, so that colour (`tone`) is never the only indication.
    `name`: the function, or the file name of the object if the function is not known.
    `problem`, `code`, `advice`: only after a failure. `lines`: only in a digest.
    `more`: text saying that not all lines are shown; else "".
    """

    result: str
    tone: Tone
    sign: str
    title: str
    name: str
    facts: tuple[Fact, ...]
    links: tuple[Link, ...]
    footer: str
    problem: Fact | None = None
    code: str | None = None
    advice: Fact | None = None
    lines: tuple[Line, ...] = ()
    more: str = ""

    @property
    def summary(self) -> str:
        """The card as a single line."""
        heading = f"{self.sign} {self.title}: {self.name}"
        return f"{heading} – {self.problem.value}" if self.problem else heading


def build_card(type_: str, body: Mapping[str, Any], language: str) -> Card:
    """Build the card of a message.

    `type_`: import.succeeded, import.failed, import.skipped, target.down, target.up,
    configuration.missing or digest.
    Missing keys are not shown: an older version may have stored the body.
    """
    data = localize(body, language)
    if type_ == "digest":
        return _build_digest(data, language)
    result = type_.rpartition(".")[2]
    if result == "succeeded" and data.get("recovered"):
        result = "recovered"
    error = data.get("error") or {}
    return Card(
        result=result,
        tone=TONES.get(result, "neutral"),
        sign=SIGNS.get(result, "•"),
        title=TITLES[result].in_language(language) if result in TITLES else plain(type_),
        name=plain(_name(data)),
        facts=tuple(_facts(data, language)),
        problem=sentence("happened", error.get("message"), language),
        code=plain(error["code"], LONGEST_CODE) if error.get("code") else None,
        advice=sentence("next", error.get("hint"), language),
        links=tuple(_links(data.get("links") or {}, language)),
        footer=f"{_label('delivery', language)} {plain(data.get('delivery') or '?')}",
    )


def mark_as_test(card: Card, language: str) -> Card:
    """Mark a test message in title and footer. Templates cannot remove the mark."""
    title = f"{TEST.in_language(language)} · {card.title}"
    return replace(card, title=title, footer=f"{TESTED.in_language(language)} · {card.footer}")


def shrink_to_fit(card: Card, fits: Callable[[Card], bool]) -> Card:
    """Drop lines of a digest, last first, and then facts until `fits(card)` is true.

    An ellipsis replaces the dropped lines; the title still has the total count.
    """
    while not fits(card) and (card.lines or card.facts):
        if card.lines:
            card = replace(card, lines=card.lines[:-1], more="…")
        else:
            card = replace(card, facts=card.facts[:-1])
    return card


def render_to_fit(card: Card, render: Callable[[Card], Json], limit: int) -> Json:
    """Render the card, shortened until the encoded body has at most `limit` bytes."""
    return render(shrink_to_fit(card, lambda card: len(encode(render(card))) <= limit))


def encode(body: Json) -> bytes:
    """Encode as UTF-8 without escapes: WeCom refuses \\uXXXX (40033), and the limits are bytes."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def plain(text: str, longest: int = LONGEST_VALUE) -> str:
    """Return foreign text as a single line, without control and direction characters.

    Text that is too long loses the middle: people recognise a key by the end.
    """
    if len(text) > 2 * _LONGEST_SCANNED:
        text = text[:_LONGEST_SCANNED] + text[-_LONGEST_SCANNED:]
    line = one_line(text)
    if len(line) <= longest:
        return line
    tail = longest // 2
    return f"{line[: longest - tail - 1]}…{line[-tail:]}"


def _name(data: Mapping[str, Any]) -> str:
    key = data.get("key") or ""
    file_name = key.rstrip("/").rpartition("/")[2] or key
    return data.get("func_name") or file_name or data.get("target") or data.get("setting") or ""


def _facts(data: Json, language: str) -> list[Fact]:
    change = CHANGES.get(data.get("how") or "")
    sentences = {
        "change": change.in_language(language) if change else None,
        "reason": (data.get("reason") or {}).get("message"),
        "changed settings": _changed_settings(data, language),
        "warnings": _warnings(data, language),
    }
    values: dict[str, str | None] = {
        "function": data.get("func_name"),
        "package": data.get("package"),
        "target": ", ".join(filter(None, (data.get("target"), data.get("region")))),
        **sentences,
        "failed at": _format_time((data.get("recovered") or {}).get("failed_at")),
        "object": "/".join(filter(None, (data.get("bucket"), data.get("key")))),
        "version": data.get("version"),
        "archive": format_size(data["size"]) if data.get("size") else None,
        "code": _code(data),
        "attempts": _attempts(data, language),
        "urn": data.get("func_urn"),
        "not applied": ", ".join(data.get("not_applied") or ()),
        "may be reset": ", ".join(data.get("unknown_fields") or ()),
    }
    return [
        Fact(_label(name, language), plain(value, LONGEST_SENTENCE), sentence=True)
        if name in sentences
        else Fact(_label(name, language), plain(value))
        for name, value in values.items()
        if value
    ]


def _changed_settings(data: Json, language: str) -> str | None:
    if not data.get("how"):  # the reason of a skipped import has the differences
        return None
    changes = [Difference.from_json(change) for change in data.get("differences") or ()]
    texts = [change.words.in_language(language) for change in changes]
    return Localized(", ", "，").in_language(language).join(texts) or None


def _warnings(data: Json, language: str) -> str | None:
    """Return the warnings as one sentence; `data` has them in this language."""
    texts = [str(warning["message"]).rstrip(".。") for warning in data.get("warnings") or ()]
    return Localized("; ", "；").in_language(language).join(dict.fromkeys(texts)) or None


def _build_digest(data: Json, language: str) -> Card:
    results: Mapping[str, int] = data.get("results") or {}
    deliveries: list[Json] = list(data.get("deliveries") or [])
    lines = tuple(_line(delivery, language) for delivery in deliveries[:MOST_LINES])
    count = data.get("count") or len(deliveries)
    counts = [COUNTED[name].in_language(language).format(results[name]) for name in results]
    hidden = count - len(lines)
    times = (
        ("from", _format_time(data.get("since"))),
        ("until", _format_time(data.get("until"))),
    )
    return Card(
        result="digest",
        tone=_worst_tone(results),
        sign=SIGNS["digest"],
        title=DIGEST.in_language(language).format(count),
        name=Localized(", ", "，").in_language(language).join(counts),
        facts=tuple(Fact(_label(name, language), text) for name, text in times if text),
        links=tuple(_links(data.get("links") or {}, language)),
        footer=_label("digest", language),
        lines=lines,
        more=MORE.in_language(language).format(hidden) if hidden > 0 else "",
    )


def _worst_tone(results: Mapping[str, int]) -> Tone:
    """Return bad if a result is bad, good if a result is good, else neutral (all were skipped)."""
    tones = {TONES.get(name, "neutral") for name, count in results.items() if count}
    return next((tone for tone in ("bad", "good") if tone in tones), "neutral")


def _line(delivery: Json, language: str) -> Line:
    result = "recovered" if delivery.get("recovered") else delivery.get("result") or ""
    error = delivery.get("error") or {}
    reason = delivery.get("reason") or {}
    explanation = error.get("message") or reason.get("message")
    title = TITLES[result].in_language(language) if result in TITLES else result
    return Line(
        sign=SIGNS.get(result, "•"),
        name=plain(_name(delivery)),
        text=plain(
            Localized(": ", "：").in_language(language).join(filter(None, (title, explanation)))
        ),
        url=(delivery.get("links") or {}).get("delivery"),
    )


def _format_time(text: str | None) -> str | None:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if text else None


def _code(data: Json) -> str:
    digest = f"SHA-512 {data['digest']}…" if data.get("digest") else None
    return ", ".join(filter(None, (data.get("runtime"), digest)))


def _attempts(data: Json, language: str) -> str | None:
    attempts, seconds = data.get("attempts"), data.get("duration_seconds")
    if attempts is None:
        return None
    if seconds is None:
        return str(attempts)
    text = Localized(f"{attempts} ({seconds:.1f} s)", f"{attempts}（{seconds:.1f} 秒）")
    return text.in_language(language)


def _links(urls: Mapping[str, Any], language: str) -> list[Link]:
    return [Link(_label(label, language), url) for label, key in _LINKS if (url := urls.get(key))]


def sentence(label: str, text: str | None, language: str) -> Fact | None:
    """Return a text written by Relay or in a template; None if it is empty."""
    if not text:
        return None
    return Fact(_label(label, language), plain(text, LONGEST_SENTENCE), sentence=True)


def _label(name: str, language: str) -> str:
    return LABELS[name].in_language(language)
