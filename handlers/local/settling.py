"""Which files are whole by now? A file counts when it stayed the same for long enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from relay.handlers.local.folder import File


@dataclass(slots=True)
class _Candidate:
    quiet: float
    since: float
    seen: File | None = None


class SettlingFiles:
    """Files that something happened to. Times in seconds, of one clock that never steps back."""

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._all: dict[str, _Candidate] = {}

    def touch(self, key: str, quiet: float, now: float) -> None:
        """Something happened to it at `now`; it is whole if nothing more does for `quiet`."""
        self._all[key] = _Candidate(quiet, now)

    def suspect(self, key: str, now: float) -> None:
        """Something may have happened to it: unless it is known already, it has to settle."""
        self._all.setdefault(key, _Candidate(self._settle, now))

    def whole(self, look: Callable[[str], File | None], now: float) -> list[File]:
        """Takes out the files that are whole; forgets those that are gone."""
        return [file for key in list(self._all) if (file := self._whole(key, look, now))]

    def due(self) -> float | None:
        """When to ask next; None: there is nothing to ask for."""
        times = (one.since + (one.quiet if one.seen else 0) for one in self._all.values())
        return min(times, default=None)

    def _whole(self, key: str, look: Callable[[str], File | None], now: float) -> File | None:
        one = self._all[key]
        if one.seen and now < one.since + one.quiet:
            return None
        file = look(key)
        if file is None or (file == one.seen and now >= one.since + one.quiet):
            del self._all[key]
            return file
        if one.seen:  # written to again: from here on only time tells when the writer is done
            one.quiet = self._settle
        if file != one.seen:
            one.seen, one.since = file, now
        return None
