"""Findings: what was seen in an archive, collected with bounds and told to a person."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from relay.archive.texts import SAYINGS, FindingText, Level
from relay.errors import PermanentFailure
from relay.model import Localized

MOST_OF_A_KIND = 10
"""How many findings of one code are told one by one; the rest are counted."""

LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen in an archive. `error` refuses it; `where` is the entry meant, as text.

    `where` is made fit for people (see `shown`); the message names it already.
    """

    code: str
    level: Level
    message: Localized
    hint: Localized
    where: str | None = None

    @property
    def failure(self) -> PermanentFailure:
        return PermanentFailure(self.code, self.message, self.hint)


class Findings:
    """Collects findings; a hostile archive cannot make many of them."""

    def __init__(self, sayings: Mapping[str, FindingText] = SAYINGS) -> None:
        self._sayings = sayings
        self._told: list[Finding] = []
        self._count: Counter[str] = Counter()

    def add(self, code: str, name: str | None = None, **facts: object) -> None:
        """One more finding. `name`: the entry; `facts` fill the words, a Text in each language."""
        self._count[code] += 1
        if self._count[code] <= MOST_OF_A_KIND:
            self._told.append(_finding(code, self._sayings[code], name, facts))

    def add_failure(self, failure: PermanentFailure, name: str) -> None:
        """A failure that refuses the archive, as a finding on the entry `name`."""
        told = Finding(failure.code, "error", failure.message, failure.hint, shown(name))
        self._told.append(told)

    def told(self) -> tuple[Finding, ...]:
        """All findings, in the order they were made; of a code seen too often, a sum."""
        return (*self._told, *map(self._rest, self._overflowing()))

    def _overflowing(self) -> list[str]:
        return [code for code, count in self._count.items() if count > MOST_OF_A_KIND]

    def _rest(self, code: str) -> Finding:
        more = self._count[code] - MOST_OF_A_KIND
        said = self._sayings[code]
        message = Localized(f"... and {more} more entries like these", f"……另有 {more} 个同类条目")
        return Finding(code, said.level, message, said.hint)


def refusal(code: str, name: str | None = None, **facts: object) -> PermanentFailure:
    """The finding `code` of an archive, as an error to raise."""
    return _finding(code, SAYINGS[code], name, facts).failure


def _finding(
    code: str, said: FindingText, name: str | None, facts: Mapping[str, object]
) -> Finding:
    where = None if name is None else shown(name)

    def told(language: int) -> str:
        chosen = {k: v[language] if isinstance(v, Localized) else v for k, v in facts.items()}
        return said.message[language].format(name=f'"{where}"', **chosen)

    return Finding(code, said.level, Localized(told(0), told(1)), said.hint, where)


def shown(text: str, most: int = LONGEST_SHOWN) -> str:
    """A foreign text that cannot break a line, hide characters or run long where it is shown."""
    kept = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(char if _visible(char) else f"\\u{{{ord(char):x}}}" for char in kept)


def _visible(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] not in "CZ"
