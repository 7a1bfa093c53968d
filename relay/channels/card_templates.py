"""Applies a team's own templates to a card. A template that fails changes nothing else.

The variables of every template, in the channel's language:

- the message's body (relay/channels/messages.py): `func_name`, `package`, `target`, `region`,
  `bucket`, `key`, `version`, `size`, `how`, `effect`, `runtime`, `digest`, `attempts`,
  `duration_seconds`, `delivery`, `error.code`, `error.message`, `error.hint`, `reason.message`,
  `links.delivery`, ...;
  in a digest `count`, `results`, `deliveries`; a variable without a value is none;
- `type` (import.failed, target.down, digest, ...) and `result` (succeeded, recovered, failed,
  skipped, down, up, digest);
- `title`, `name`, `problem`, `advice`, `footer`: the default texts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relay.channels.card import LONGEST_SENTENCE, Card, plain, sentence
from relay.channels.card_texts import BROKEN
from relay.channels.messages import localize
from relay.config.templates import WordsSettings, template

log = logging.getLogger(__name__)

_VARIABLES = """
    func_name package target region bucket key version size how runtime digest attempts source route
    trigger duration_seconds delivery error reason links recovered func_urn since until count
    results deliveries effect differences not_applied unknown_fields warnings
"""
_NO_VALUES: Mapping[str, None] = dict.fromkeys(_VARIABLES.split())


def apply_templates(
    card: Card, words: WordsSettings, type_: str, body: Mapping[str, Any], language: str
) -> Card:
    """Replace texts of the card. A text whose template fails stays, and the footer says so."""
    templates = {name: text for name, text in words.model_dump().items() if text is not None}
    if not templates:
        return card
    variables = {
        **_NO_VALUES,
        **localize(body, language),
        "type": type_,
        "result": card.result,
        "title": card.title,
        "name": card.name,
        "problem": card.problem.value if card.problem else "",
        "advice": card.advice.value if card.advice else "",
        "footer": card.footer,
    }
    texts, failed = {}, []
    for name, text in templates.items():
        try:
            texts[name] = plain(template(text).render(variables), LONGEST_SENTENCE)
        except Exception as error:  # noqa: BLE001 - a template may raise any exception
            log.warning("words failed", extra={"template": name, "error": type(error).__name__})
            failed.append(name)
    footer = texts.get("footer", card.footer)
    if failed:
        footer = f"{footer} · {BROKEN.in_language(language).format(', '.join(failed))}"
    return replace(
        card,
        title=texts.get("title") or card.title,
        name=texts.get("name") or card.name,
        problem=sentence("happened", texts.get("problem", variables["problem"]), language),
        advice=sentence("next", texts.get("advice", variables["advice"]), language),
        footer=footer,
    )
