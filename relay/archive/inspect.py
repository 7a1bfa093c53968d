"""What lies in this zip, and may it be imported? Decided from a few KB, before it is loaded.

An own reader, because Python's and the ordinary unzip accept hostile archives silently: this one
follows the records that all programs read, and refuses what two programs could read differently.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from relay.archive.directory import (
    ENCRYPTED,
    LOCAL,
    ZipEntry,
    differences,
    local_rest,
    read_directory,
)
from relay.archive.end_record import EndRecord, find_end
from relay.archive.export import Export, read_export, yaml_entries
from relay.archive.findings import Finding, Findings
from relay.archive.inflate import unpacked
from relay.archive.range_reader import RangeReader, ReadRange
from relay.archive.rules import ArchiveLimits, check_entries

__all__ = [
    "ArchiveLimits",
    "ArchiveReport",
    "Export",
    "Finding",
    "ReadRange",
    "ZipEntry",
    "inspect",
]

DEFAULT_LIMITS = ArchiveLimits()

HEADER_READS = 8
HEADER_BYTES = 512 * 1024
"""What is spent on local headers; the one pass sees all of them anyway, before its last byte."""

FEW_ENTRIES = 64
"""Up to so many entries all local headers are looked at, as far as the above allows."""


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """All findings, not the first; entries in the order of the directory.

    `directory` is where the directory begins and `directory_digest` the SHA-256 (hex) of all from
    there to the end: the one pass compares it, so that what is sent is what was looked at.
    """

    size: int
    entries: tuple[ZipEntry, ...]
    findings: tuple[Finding, ...]
    export: Export | None
    directory: int = 0
    directory_digest: str = ""

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == "error")

    def relaxed(self) -> ArchiveReport:
        """The same, with the errors about the export's shape as warnings (export_shape "warn")."""
        return replace(self, findings=tuple(map(_relaxed, self.findings)))


def _relaxed(finding: Finding) -> Finding:
    about_shape = finding.level == "error" and finding.code.startswith("export.")
    return replace(finding, level="warning") if about_shape else finding


def inspect(size: int, read: ReadRange, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> ArchiveReport:
    """Looks at an archive of `size` bytes through range reads: its end, directory and YAML.

    Never reads the bodies, and at most a few hundred KB unless the directory itself is larger.
    Raises what `read` raises; what is wrong with the archive is in the report.
    """
    found = Findings()
    if size > limits.size:
        found.add("archive.too_large", size=size, limit=limits.size)
    elif size > limits.usual_size:
        found.add("archive.large", size=size, limit=limits.usual_size)
    if size == 0:
        found.add("archive.empty_object")
        return ArchiveReport(0, (), found.told(), None)
    window = RangeReader(size, read)
    end = find_end(window, found)
    if end is None or not _within(window, end, limits, found):
        return ArchiveReport(size, (), found.told(), None)
    return _report(window, end, limits, found)


def _within(window: RangeReader, end: EndRecord, limits: ArchiveLimits, found: Findings) -> bool:
    span = window.size - end.directory
    if end.entries > limits.entries:
        found.add("archive.too_many", count=end.entries, limit=limits.entries)
    if span > limits.directory:
        found.add("archive.directory_size", size=span, limit=limits.directory)
    return end.entries <= limits.entries and span <= limits.directory


def _report(
    window: RangeReader, end: EndRecord, limits: ArchiveLimits, found: Findings
) -> ArchiveReport:
    tail = window.at(end.directory, window.size)
    look = _Look(window, end, found)
    entries = look.at_some(read_directory(tail[: end.directory_size], end, found))
    export, shape = _export(entries, look, limits)
    if export and export.code and export.code.data is None:
        code = look.at(export.code)
        entries = tuple(code if entry is export.code else entry for entry in entries)
        export = replace(export, code=code)
    check_entries(entries, end, limits, found)
    digest = hashlib.sha256(tail).hexdigest()
    return ArchiveReport(window.size, entries, found.told() + shape, export, end.directory, digest)


def _export(
    entries: tuple[ZipEntry, ...], look: _Look, limits: ArchiveLimits
) -> tuple[Export | None, tuple[Finding, ...]]:
    candidates = yaml_entries(entries)
    if len(candidates) == 1 and not _readable(candidates[0]):
        return None, ()
    return read_export(entries, look.content, limits.yaml)


def _readable(entry: ZipEntry) -> bool:
    """Whether its content can be read at all; why not is among the findings already."""
    return entry.data is not None and not entry.flags & ENCRYPTED and entry.method in (0, 8)


class _Look:
    """Looks at local headers, and at the content of small entries."""

    def __init__(self, window: RangeReader, end: EndRecord, found: Findings) -> None:
        self._window = window
        self._directory = end.directory
        self._found = found
        self._seen: dict[int, ZipEntry] = {}

    def at_some(self, entries: tuple[ZipEntry, ...]) -> tuple[ZipEntry, ...]:
        """The entries, with their `data` where the local header was looked at."""
        first = yaml_entries(entries)[:1]
        rest = sorted(entries, key=lambda entry: entry.offset)[:FEW_ENTRIES]
        reads, fetched = self._window.reads + HEADER_READS, self._window.fetched + HEADER_BYTES
        for entry in (*first, *(rest if len(entries) <= FEW_ENTRIES else ())):
            if self._window.reads >= reads or self._window.fetched >= fetched:
                break
            self.at(entry)
        return tuple(self._seen.get(id(entry), entry) for entry in entries)

    def at(self, entry: ZipEntry) -> ZipEntry:
        """The entry with its `data`; unchanged when it is not where the directory says."""
        if id(entry) not in self._seen:
            self._seen[id(entry)] = self._at(entry)
        return self._seen[id(entry)]

    def _at(self, entry: ZipEntry) -> ZipEntry:
        start = entry.offset + LOCAL.size
        header = self._window.at(entry.offset, start) if start <= self._directory else b""
        length = local_rest(header) if len(header) == LOCAL.size else None
        if length is None or start + length > self._directory:
            self._found.add("archive.local_missing", entry.name)
            return entry
        differ = differences(entry, header, self._window.at(start, start + length))
        if differ is not None:
            self._found.add("archive.headers_differ", entry.name, fields=differ)
        return replace(entry, data=start + length)

    def content(self, entry: ZipEntry) -> bytes:
        """A small entry's whole content; PermanentFailure when it is damaged."""
        start = entry.data or 0
        return b"".join(unpacked(entry, [self._window.at(start, start + entry.compressed)]))
