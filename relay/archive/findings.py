"""Collects what the inspection finds in an archive, in limited number and as readable texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from relay.archive.texts import TEXTS, Level
from relay.config.text import escape_invisible
from relay.errors import PermanentFailure
from relay.model import Localized

MAX_PER_CODE = 10
"""Findings of a code that are listed individually; the rest are counted."""

MAX_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact about an archive. Level `error` refuses the archive.

    `where` is the name of the entry, made printable. The message contains it already.
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
    """Collects findings; their number is limited, however hostile the archive is."""

    def __init__(self) -> None:
        self._findings: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, code: str, name: str | None = None, **values: object) -> None:
        """Add a finding. `name` is the entry; `values` fill the text and may be Localized."""
        self._counts[code] += 1
        if self._counts[code] <= MAX_PER_CODE:
            self._findings.append(_finding(code, name, values))

    def add_failure(self, failure: PermanentFailure, name: str) -> None:
        """Add an error about the entry `name`."""
        self._findings.append(
            Finding(failure.code, "error", failure.message, failure.hint, printable(name))
        )

    def collect(self) -> tuple[Finding, ...]:
        """Return all findings in order, then a summary for each code with too many."""
        summaries = (
            _summary(code, count - MAX_PER_CODE)
            for code, count in self._counts.items()
            if count > MAX_PER_CODE
        )
        return (*self._findings, *summaries)


def finding_error(code: str, name: str | None = None, **values: object) -> PermanentFailure:
    """Return the finding `code` as an error to raise."""
    return _finding(code, name, values).failure


def _finding(code: str, name: str | None, values: Mapping[str, object]) -> Finding:
    text = TEXTS[code]
    where = None if name is None else printable(name)

    def render(language: int) -> str:
        localized = {
            key: value[language] if isinstance(value, Localized) else value
            for key, value in values.items()
        }
        return text.message[language].format(name=f'"{where}"', **localized)

    return Finding(code, text.level, Localized(render(0), render(1)), text.hint, where)


def _summary(code: str, more: int) -> Finding:
    text = TEXTS[code]
    message = Localized(f"... and {more} more entries like these", f"……另有 {more} 个同类条目")
    return Finding(code, text.level, message, text.hint)


def printable(text: str, most: int = MAX_SHOWN) -> str:
    """Return foreign text without line breaks or hidden characters, cut to `most` characters."""
    return escape_invisible(text if len(text) <= most else f"{text[: most - 1]}…")
