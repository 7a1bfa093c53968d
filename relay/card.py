"""What a message says to a person at a glance, in one language, safe to show. Pure.

Every chat channel renders the same card in its own form. The strings here hold no control
characters and no marks that turn the direction of text, and are cut politely; escaping the
markup of a service is the channel's own part.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.model import Json, Text
from relay.report import in_language

LONGEST_VALUE = 200
"""Characters of a name, key or URN that are shown."""

LONGEST_CODE = 80
LONGEST_SENTENCE = 500

_MOST_LOOKED_AT = 4096

_SIGNS = {"succeeded": "✅", "failed": "❌", "skipped": "⏭️", "down": "🔴", "up": "🟢"}

_TITLES: Mapping[str, Text] = {
    "succeeded": Text("Imported", "导入成功"),
    "failed": Text("Import failed", "导入失败"),
    "skipped": Text("Import skipped", "已跳过导入"),
    "down": Text("Target is down: imports wait for it", "目标端不可用, 导入已暂停等待"),
    "up": Text("Target is up again: imports go on", "目标端已恢复, 导入继续"),
}

_CHANGES: Mapping[str, Text] = {
    "created": Text("new function", "新建函数"),
    "updated": Text("existing function updated", "已更新原有函数"),
    "renamed": Text("the name was taken: imported under a new name", "名称已被占用, 已改名导入"),
    "already there": Text(
        "imported by an earlier attempt whose answer was lost", "此前一次尝试已导入, 只是应答丢失"
    ),
}

_LABELS: Mapping[str, Text] = {
    "function": Text("Function", "函数"),
    "package": Text("Package", "应用"),
    "target": Text("Target", "目标"),
    "change": Text("Change", "变更"),
    "reason": Text("Reason", "原因"),
    "object": Text("Object", "对象"),
    "version": Text("Version", "版本"),
    "archive": Text("Archive", "压缩包"),
    "code": Text("Code", "代码"),
    "attempts": Text("Attempts", "尝试次数"),
    "urn": Text("URN", "URN"),
    "happened": Text("What happened", "出了什么问题"),
    "next": Text("What to do next", "下一步怎么做"),
    "open": Text("Open the delivery", "查看投递详情"),
    "retrigger": Text("Try again", "重新触发"),
    "delivery": Text("Delivery", "投递"),
}


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
class Card:
    """A message, ready to be laid out.

    `sign` and `title` say the result (never by colour alone); `name` is the function, or the
    object's file name where the function is not known. `problem` and `advice` are there on
    failure only. `summary` is all of it in one line.
    """

    sign: str
    title: str
    name: str
    facts: tuple[Fact, ...]
    problem: Fact | None
    code: str | None
    advice: Fact | None
    links: tuple[Link, ...]
    footer: str

    @property
    def summary(self) -> str:
        told = f"{self.sign} {self.title}: {self.name}"
        return f"{told} – {self.problem.value}" if self.problem else told


def card(type_: str, body: Mapping[str, Any], language: str) -> Card:
    """The card of a message; `type_` is import.succeeded, import.failed or import.skipped, or
    target.down or target.up.

    Tolerant of bodies that an older version stored: what is missing is not shown.
    """
    result = type_.rpartition(".")[2]
    told = in_language(body, language)
    error = told.get("error") or {}
    return Card(
        sign=_SIGNS.get(result, "•"),
        title=_TITLES[result].in_(language) if result in _TITLES else plain(type_),
        name=plain(_name(told)),
        facts=tuple(_facts(told, language)),
        problem=_sentence("happened", error.get("message"), language),
        code=plain(error["code"], LONGEST_CODE) if error.get("code") else None,
        advice=_sentence("next", error.get("hint"), language),
        links=tuple(_links(told.get("links") or {}, language)),
        footer=f"{_label('delivery', language)} {plain(told.get('delivery') or '?')}",
    )


def plain(text: str, longest: int = LONGEST_VALUE) -> str:
    """Foreign text on one line: no control or direction marks; the middle cut out when too long.

    The middle, because a key's end is what people know it by.
    """
    if len(text) > 2 * _MOST_LOOKED_AT:
        text = text[:_MOST_LOOKED_AT] + text[-_MOST_LOOKED_AT:]
    cleaned = " ".join("".join(map(_visible, text)).split())
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
    change = _CHANGES.get(told.get("how") or "")
    sentences = {"change": change.in_(language) if change else None, "reason": reason}
    values: dict[str, str | None] = {
        "function": told.get("func_name"),
        "package": told.get("package"),
        "target": told.get("target"),
        **sentences,
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


def _code(told: Json) -> str:
    digest = f"SHA-512 {told['digest']}…" if told.get("digest") else None
    return ", ".join(filter(None, (told.get("runtime"), digest)))


def _attempts(told: Json, language: str) -> str | None:
    if told.get("attempts") is None:
        return None
    if told.get("duration_seconds") is None:
        return str(told["attempts"])
    lasted = f"{told['duration_seconds']:.1f}"
    return Text(f"{told['attempts']} ({lasted} s)", f"{told['attempts']}({lasted} 秒)").in_(
        language
    )


def _links(told: Mapping[str, Any], language: str) -> list[Link]:
    places = (("open", told.get("delivery")), ("retrigger", told.get("retrigger")))
    return [Link(_label(name, language), url) for name, url in places if url]


def _sentence(name: str, text: str | None, language: str) -> Fact | None:
    return (
        Fact(_label(name, language), plain(text, LONGEST_SENTENCE), sentence=True) if text else None
    )


def _label(name: str, language: str) -> str:
    return _LABELS[name].in_(language)
