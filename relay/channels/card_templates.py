"""A team's own wording of cards. A template that fails costs nothing but itself.

The variables of every template, in the channel's language:

- all of the message's body (relay/channels/messages.py): `func_name`, `package`, `target`,
  `region`, `bucket`, `key`, `version`, `size`, `how`, `runtime`, `digest`, `attempts`,
  `duration_seconds`, `delivery`,
  `error.code`, `error.message`, `error.hint`, `reason.message`, `links.delivery`, ...; in a digest
  `count`, `results`, `deliveries`; what a message does not know is none;
- `type` (import.failed, target.down, digest, ...) and `result` (succeeded, recovered, failed,
  skipped, down, up, digest);
- `title`, `name`, `problem`, `advice`, `footer`: our own words, to add to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relay.channels.card import LONGEST_SENTENCE, Card, Fact, plain
from relay.channels.card_texts import BROKEN, LABELS
from relay.channels.messages import localize
from relay.config.templates import WordsSettings, template

log = logging.getLogger(__name__)

_KNOWN = """
    func_name package target region bucket key version size how runtime digest attempts source route
    trigger duration_seconds delivery error reason links recovered func_urn since until count
    results deliveries
"""
_NONE: Mapping[str, None] = dict.fromkeys(_KNOWN.split())


def apply_templates(
    card: Card, words: WordsSettings, type_: str, body: Mapping[str, Any], language: str
) -> Card:
    """The card in the team's words. Where a template fails ours stand, and the footer says so."""
    own = {name: text for name, text in words.model_dump().items() if text is not None}
    if not own:
        return card
    known = {
        **_NONE,
        **localize(body, language),
        "type": type_,
        "result": card.result,
        "title": card.title,
        "name": card.name,
        "problem": card.problem.value if card.problem else "",
        "advice": card.advice.value if card.advice else "",
        "footer": card.footer,
    }
    said, broken = {}, []
    for name, text in own.items():
        try:
            said[name] = plain(template(text).render(known), LONGEST_SENTENCE)
        except Exception as error:  # noqa: BLE001 - a template may fail in any way there is
            log.warning("words failed", extra={"template": name, "error": type(error).__name__})
            broken.append(name)
    return _with(card, said, broken, language)


def _with(card: Card, said: Mapping[str, str], broken: list[str], language: str) -> Card:
    footer = said.get("footer", card.footer)
    if broken:
        told = BROKEN.in_(language).format(", ".join(broken))
        footer = f"{footer} · {told}"
    return replace(
        card,
        title=said.get("title") or card.title,
        name=said.get("name") or card.name,
        problem=_fact(card.problem, said.get("problem"), "happened", language),
        advice=_fact(card.advice, said.get("advice"), "next", language),
        footer=footer,
    )


def _fact(ours: Fact | None, said: str | None, label: str, language: str) -> Fact | None:
    if said is None:
        return ours
    return Fact(LABELS[label].in_(language), said, sentence=True) if said else None
