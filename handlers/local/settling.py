"""Detects finished files: a file is complete once it has not changed for long enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.handlers.local.folder import File


@dataclass(slots=True)
class _Candidate:
    quiet: float
    since: float
    file: File | None = None

    @property
    def due(self) -> float:
        """The time of the next check: at once for the first check, then after the quiet period."""
        return self.since + (self.quiet if self.file else 0)


class SettlingFiles:
    """Files that changed recently. Times are seconds of a monotonic clock."""

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._candidates: dict[str, _Candidate] = {}

    def touch(self, key: str, quiet: float, now: float) -> None:
        """Record a change at `now`: the file is complete after `quiet` seconds without another."""
        self._candidates[key] = _Candidate(quiet, now)

    def suspect(self, key: str, now: float) -> None:
        """Record a possible change: a file that is not a candidate yet has to settle."""
        self._candidates.setdefault(key, _Candidate(self._settle, now))

    def take_finished(self, look: Callable[[str], File | None], now: float) -> list[File]:
        """Remove and return the complete files; forget the missing files."""
        keys = list(self._candidates)
        return [file for key in keys if (file := self._take(key, look, now))]

    def due(self) -> float | None:
        """The time of the next check; None without candidates."""
        return min((candidate.due for candidate in self._candidates.values()), default=None)

    def _take(self, key: str, look: Callable[[str], File | None], now: float) -> File | None:
        candidate = self._candidates[key]
        is_due = now >= candidate.since + candidate.quiet
        if candidate.file and not is_due:
            return None
        file = look(key)
        if file is None or (file == candidate.file and is_due):
            del self._candidates[key]
            return file
        if candidate.file:  # changed again: the writer had not finished after all
            candidate.quiet = self._settle
        if file != candidate.file:
            candidate.file, candidate.since = file, now
        return None
