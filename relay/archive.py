"""What lies in this zip, and may it be imported? Decided from a few KB read by ranges, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from relay.model import Json, Text

ReadRange = Callable[[int, int], bytes]
"""read(start, end) -> exactly the archive's bytes [start, end)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen in an archive. `error` refuses it; `where` is the entry's name, when one is meant."""

    code: str
    level: Literal["error", "warning", "note"]
    message: Text
    hint: Text
    where: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the archive, as its directory describes it.

    `offset` is where its local header starts, `data` its first byte of data.
    """

    name: str
    method: int
    size: int
    compressed: int
    crc: int
    flags: int
    offset: int
    data: int


@dataclass(frozen=True, slots=True)
class Export:
    """The FunctionGraph export inside: `function` is the key under Resources, `properties` its Properties."""

    function: str
    properties: Json
    yaml_name: str
    code: Entry | None


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """All findings, not the first; entries in the order of the directory."""

    size: int
    entries: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    export: Export | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "error")
