"""Inspects a zip with a few range reads, before it is downloaded: is it safe, is it an export?

zipfile and unzip accept hostile archives silently, so this is a separate zip reader. It uses the
records that all programs read, and refuses archives that two programs could read differently.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from relay.archive.content import unpack
from relay.archive.directory import (
    ENCRYPTED,
    LOCAL,
    ZipEntry,
    differences,
    read_directory,
    variable_length,
)
from relay.archive.end_record import EndRecord, find_end
from relay.archive.export import Export, read_export, yaml_entries
from relay.archive.findings import Finding, Findings
from relay.archive.readers import RangeReader, ReadRange
from relay.archive.rules import ArchiveLimits, check_entries

DEFAULT_LIMITS = ArchiveLimits()

MAX_HEADER_READS = 8
MAX_HEADER_BYTES = 512 * 1024
"""Limits for reading local headers. The stream check verifies all of them later."""

FEW_ENTRIES = 64
"""Number of entries up to which all local headers are read, within the limits above."""


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """All findings about an archive, and the entries in the order of the directory.

    `directory` is the offset of the directory. `directory_digest` is the SHA-256 (hex) of the bytes
    from there to the end; the stream check compares it, so that the inspected archive is sent.
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
        """Return a copy with errors about the export as warnings (export_shape = "warn")."""
        findings = (
            replace(finding, level="warning")
            if finding.level == "error" and finding.code.startswith("export.")
            else finding
            for finding in self.findings
        )
        return replace(self, findings=tuple(findings))


def inspect(size: int, read: ReadRange, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> ArchiveReport:
    """Inspect the end, directory and YAML of an archive of `size` bytes through range reads.

    Reads at most a few hundred KB unless the directory is larger. Problems of the archive are in
    the report; only errors of `read` are raised.
    """
    findings = Findings()
    if size > limits.size:
        findings.add("archive.too_large", size=size, limit=limits.size)
    elif size > limits.usual_size:
        findings.add("archive.large", size=size, limit=limits.usual_size)
    if size == 0:
        findings.add("archive.empty_object")
        return ArchiveReport(0, (), findings.collect(), None)
    reader = RangeReader(size, read)
    end = find_end(reader, findings)
    if end is None or not _is_within_limits(reader, end, limits, findings):
        return ArchiveReport(size, (), findings.collect(), None)
    return _report(reader, end, limits, findings)


def _is_within_limits(
    reader: RangeReader, end: EndRecord, limits: ArchiveLimits, findings: Findings
) -> bool:
    length = reader.size - end.directory
    if end.entries > limits.entries:
        findings.add("archive.too_many", count=end.entries, limit=limits.entries)
    if length > limits.directory:
        findings.add("archive.directory_size", size=length, limit=limits.directory)
    return end.entries <= limits.entries and length <= limits.directory


def _report(
    reader: RangeReader, end: EndRecord, limits: ArchiveLimits, findings: Findings
) -> ArchiveReport:
    tail = reader.read(end.directory, reader.size)
    headers = _LocalHeaders(reader, end, findings)
    entries = headers.locate_some(read_directory(tail[: end.directory_size], end, findings))
    export, export_findings = _export(entries, headers, limits)
    if export and export.code and export.code.data is None:
        code = headers.locate(export.code)
        entries = tuple(code if entry is export.code else entry for entry in entries)
        export = replace(export, code=code)
    check_entries(entries, end, limits, findings)
    digest = hashlib.sha256(tail).hexdigest()
    return ArchiveReport(
        reader.size, entries, findings.collect() + export_findings, export, end.directory, digest
    )


def _export(
    entries: tuple[ZipEntry, ...], headers: _LocalHeaders, limits: ArchiveLimits
) -> tuple[Export | None, tuple[Finding, ...]]:
    candidates = yaml_entries(entries)
    if len(candidates) == 1:
        entry = candidates[0]
        if entry.data is None or entry.flags & ENCRYPTED or entry.method not in (0, 8):
            return None, ()  # the findings already contain the reason
    return read_export(entries, headers.content, limits.yaml)


class _LocalHeaders:
    """Reads local headers and the content of small entries."""

    def __init__(self, reader: RangeReader, end: EndRecord, findings: Findings) -> None:
        self._reader = reader
        self._directory = end.directory
        self._findings = findings
        self._located: dict[int, ZipEntry] = {}

    def locate_some(self, entries: tuple[ZipEntry, ...]) -> tuple[ZipEntry, ...]:
        """Return the entries, with `data` set where the limits allow to read the local header."""
        priority = yaml_entries(entries)[:1]
        by_offset = sorted(entries, key=lambda entry: entry.offset)[:FEW_ENTRIES]
        max_reads, max_bytes = (
            self._reader.reads + MAX_HEADER_READS,
            self._reader.fetched + MAX_HEADER_BYTES,
        )
        for entry in (*priority, *(by_offset if len(entries) <= FEW_ENTRIES else ())):
            if self._reader.reads >= max_reads or self._reader.fetched >= max_bytes:
                break
            self.locate(entry)
        return tuple(self._located.get(id(entry), entry) for entry in entries)

    def locate(self, entry: ZipEntry) -> ZipEntry:
        """Return the entry with `data` set, or unchanged if the local header is missing."""
        if id(entry) not in self._located:
            self._located[id(entry)] = self._locate(entry)
        return self._located[id(entry)]

    def _locate(self, entry: ZipEntry) -> ZipEntry:
        start = entry.offset + LOCAL.size
        header = self._reader.read(entry.offset, start) if start <= self._directory else b""
        length = variable_length(header) if len(header) == LOCAL.size else None
        if length is None or start + length > self._directory:
            self._findings.add("archive.local_missing", entry.name)
            return entry
        differ = differences(entry, header, self._reader.read(start, start + length))
        if differ is not None:
            self._findings.add("archive.headers_differ", entry.name, fields=differ)
        return replace(entry, data=start + length)

    def content(self, entry: ZipEntry) -> bytes:
        """Return the content of a small entry. Raises PermanentFailure if it is damaged."""
        start = entry.data or 0
        return b"".join(unpack(entry, [self._reader.read(start, start + entry.compressed)]))
