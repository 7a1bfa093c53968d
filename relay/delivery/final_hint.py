"""The hint of a failure that ends a delivery: what a person can do, and no promise of a retry."""

from __future__ import annotations

import re
from dataclasses import replace

from relay.model import Localized, Problem

# "Relay retries.", "Relay waits until the lock ends.": a clause about what Relay does next.
_PROMISE_EN = re.compile(r"(?:^|([.;:,])\s+)Relay [a-z]+s\b.*?(?:[.;](?=\s|$)|$)")
_PROMISE_ZH = re.compile(r"(?:^|([。；：，]))\s*(?:其间 )?Relay (?:稍后)?会[^。；]*(?:[。；]|$)")

_RETRIGGER = Localized("Fix the cause, then retrigger.", "请排除原因后重新触发。")


def final_problem(problem: Problem) -> Problem:
    """Return the problem of the last attempt as that of a delivery for which Relay gives up.

    The hint of a temporary failure may say that Relay retries, which is over.
    """
    return replace(problem, hint=final_hint(problem.hint))


def final_hint(hint: Localized) -> Localized:
    """Remove promises of a retry from a hint, and say that the delivery can be retriggered."""
    en = _PROMISE_EN.sub(lambda found: "." if found[1] else "", hint.en).strip()
    zh = _PROMISE_ZH.sub(lambda found: "。" if found[1] else "", hint.zh).strip()
    if "retrigger" not in en.lower():
        en, zh = f"{en} {_RETRIGGER.en}", f"{zh}{_RETRIGGER.zh}"
    en = en.strip()
    return Localized(en[:1].upper() + en[1:], zh.strip())
