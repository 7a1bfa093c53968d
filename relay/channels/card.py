"""What a message says to a person at a glance, in one language, safe to show. Pure.

Every chat channel renders the same card in its own form. The strings here hold no control
characters and no marks that turn the direction of text, and are cut politely; escaping the
markup of a service is the channel's own part.
"""

from __future__ import annotations

import unicodedata
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
from relay.model import Json, Localized

LONGEST_VALUE = 200
"""Characters of a name, key or URN that are shown."""

LONGEST_CODE = 80
LONGEST_SENTENCE = 500
MOST_LINES = 12
"""How many of a digest's deliveries are listed; failures come first."""

_MOST_LOOKED_AT = 4096


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled value. `sentence`: prose in our words; else a name to be shown as it is."""

    label: str
    value: str
    sentence: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Where to read on. The URL is made of public_url and our own ids, never of foreign text."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Line:
    """One delivery of a digest. `name`: a function's, or an object's; `text`: what became of it,
    prose. `url`: its page; None: pages have no public address."""

    sign: str
    name: str
    text: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Card:
    """A message, ready to be laid out.

    `result`: succeeded, recovered, failed, skipped, down, up or digest. `sign` and `title` say it
    (never by colour, `tone`, alone); `name` is the function, or the object's file name where the
    function is not known. `problem` and `advice` are there on failure only, `lines` in a digest
    only; `more` says, in words, that there are more than are listed.
    `summary` is all of it in one line.
    """

    result: str
    tone: Tone
    sign: str
    title: str
    name: str
    facts: tuple[Fact, ...]
    problem: Fact | None
    code: str | None
    advice: Fact | None
    links: tuple[Link, ...]
    footer: str
    lines: tuple[Line, ...] = ()
    more: str = ""

    @property
    def summary(self) -> str:
        told = f"{self.sign} {self.title}: {self.name}"
        return f"{told} – {self.problem.value}" if self.problem else told


def build_card(type_: str, body: Mapping[str, Any], language: str) -> Card:
    """The card of a message; `type_` is import.succeeded, import.failed or import.skipped,
    target.down, target.up or digest.

    Tolerant of bodies that an older version stored: what is missing is not shown.
    """
    told = localize(body, language)
    if type_ == "digest":
        return _digest(told, language)
    result = type_.rpartition(".")[2]
    if result == "succeeded" and told.get("recovered"):
        result = "recovered"
    error = told.get("error") or {}
    return Card(
        result=result,
        tone=TONES.get(result, "neutral"),
        sign=SIGNS.get(result, "•"),
        title=TITLES[result].in_(language) if result in TITLES else plain(type_),
        name=plain(_name(told)),
        facts=tuple(_facts(told, language)),
        problem=_sentence("happened", error.get("message"), language),
        code=plain(error["code"], LONGEST_CODE) if error.get("code") else None,
        advice=_sentence("next", error.get("hint"), language),
        links=tuple(_links(told.get("links") or {}, language)),
        footer=f"{_label('delivery', language)} {plain(told.get('delivery') or '?')}",
    )


def mark_as_test(card: Card, language: str) -> Card:
    """The card of a message that was posted by hand: it says so, whoever worded it."""
    title = f"{TEST.in_(language)} · {card.title}"
    return replace(card, title=title, footer=f"{TESTED.in_(language)} · {card.footer}")


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


def plain(text: str, longest: int = LONGEST_VALUE) -> str:
    """Foreign text on one line: no control or direction marks; the middle cut out when too long.

    The middle, because a key's end is what people know it by.
    """
    if len(text) > 2 * _MOST_LOOKED_AT:
        text = text[:_MOST_LOOKED_AT] + text[-_MOST_LOOKED_AT:]
    shown = text if text.isprintable() else "".join(map(_visible, text))
    cleaned = " ".join(shown.split())
    if len(cleaned) <= longest:
        return cleaned
    tail = longest // 2
    return f"{cleaned[: longest - tail - 1]}…{cleaned[-tail:]}"


def size_in_words(size: int) -> str:
    """A number of bytes for people: 812 B, 3.4 KiB, 120 MiB."""
    amount, units = float(size), ["B", "KiB", "MiB", "GiB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return (
        f"{amount:.0f} {units[0]}"
        if amount >= 10 or units[0] == "B"
        else f"{amount:.1f} {units[0]}"
    )


def _visible(character: str) -> str:
    # Cc: control; Cf: direction marks, joiners and other invisible ones; Cs/Co/Cn: no characters.
    category = unicodedata.category(character)
    if category in ("Zl", "Zp") or character.isspace():
        return " "
    return "" if category.startswith("C") else character


def _name(told: Mapping[str, Any]) -> str:
    key = told.get("key") or ""
    found = told.get("func_name") or key.rstrip("/").rpartition("/")[2] or key
    return found or told.get("target") or ""


def _facts(told: Json, language: str) -> list[Fact]:
    reason = (told.get("reason") or {}).get("message")
    change = CHANGES.get(told.get("how") or "")
    sentences = {"change": change.in_(language) if change else None, "reason": reason}
    values: dict[str, str | None] = {
        "function": told.get("func_name"),
        "package": told.get("package"),
        "target": ", ".join(filter(None, (told.get("target"), told.get("region")))),
        **sentences,
        "failed at": _moment((told.get("recovered") or {}).get("failed_at")),
        "object": "/".join(filter(None, (told.get("bucket"), told.get("key")))),
        "version": told.get("version"),
        "archive": size_in_words(told["size"]) if told.get("size") else None,
        "code": _code(told),
        "attempts": _attempts(told, language),
        "urn": told.get("func_urn"),
    }
    return [
        Fact(_label(name, language), plain(value, LONGEST_SENTENCE), sentence=True)
        if name in sentences
        else Fact(_label(name, language), plain(value))
        for name, value in values.items()
        if value
    ]


def _digest(told: Json, language: str) -> Card:
    results: Mapping[str, int] = told.get("results") or {}
    listed: list[Json] = list(told.get("deliveries") or [])
    lines = tuple(_line(one, language) for one in listed[:MOST_LINES])
    count = told.get("count") or len(listed)
    counted = [COUNTED[name].in_(language).format(results[name]) for name in results]
    hidden = count - len(lines)
    spans = (("from", _moment(told.get("since"))), ("until", _moment(told.get("until"))))
    return Card(
        result="digest",
        tone=_tone_of(results),
        sign=SIGNS["digest"],
        title=DIGEST.in_(language).format(count),
        name=Localized(", ", "，").in_(language).join(counted),
        facts=tuple(Fact(_label(name, language), plain(at)) for name, at in spans if at),
        problem=None,
        code=None,
        advice=None,
        links=tuple(_links(told.get("links") or {}, language)),
        footer=_label("digest", language),
        lines=lines,
        more=MORE.in_(language).format(hidden) if hidden > 0 else "",
    )


def _tone_of(results: Mapping[str, int]) -> Tone:
    """The worst of what a digest holds; nothing but skips is neither good nor bad."""
    tones = {TONES.get(name, "neutral") for name, count in results.items() if count}
    return next((tone for tone in ("bad", "good") if tone in tones), "neutral")


def _line(told: Json, language: str) -> Line:
    result = "recovered" if told.get("recovered") else told.get("result") or ""
    error = told.get("error") or {}
    reason = told.get("reason") or {}
    words = error.get("message") or reason.get("message")
    title = TITLES[result].in_(language) if result in TITLES else result
    return Line(
        sign=SIGNS.get(result, "•"),
        name=plain(_name(told)),
        text=plain(Localized(": ", "：").in_(language).join(filter(None, (title, words)))),
        url=(told.get("links") or {}).get("delivery"),
    )


def _moment(text: str | None) -> str | None:
    """A time for people, in UTC as all of Relay's are."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return text
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else None


def _code(told: Json) -> str:
    digest = f"SHA-512 {told['digest']}…" if told.get("digest") else None
    return ", ".join(filter(None, (told.get("runtime"), digest)))


def _attempts(told: Json, language: str) -> str | None:
    if told.get("attempts") is None:
        return None
    if told.get("duration_seconds") is None:
        return str(told["attempts"])
    lasted = f"{told['duration_seconds']:.1f}"
    return Localized(f"{told['attempts']} ({lasted} s)", f"{told['attempts']}（{lasted} 秒）").in_(
        language
    )


def _links(told: Mapping[str, Any], language: str) -> list[Link]:
    places = [(name, told.get(place)) for name, place in _PLACES]
    return [Link(_label(name, language), url) for name, url in places if url]


_PLACES = (("open", "delivery"), ("list", "deliveries"), ("retrigger", "retrigger"))


def _sentence(name: str, text: str | None, language: str) -> Fact | None:
    return (
        Fact(_label(name, language), plain(text, LONGEST_SENTENCE), sentence=True) if text else None
    )


def _label(name: str, language: str) -> str:
    return LABELS[name].in_(language)
