"""Checks the entries of an archive: names, file types, sizes and positions."""

from __future__ import annotations

import posixpath
import re
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from relay.archive.directory import DESCRIPTOR, DESCRIPTOR_SIZES, ENCRYPTED, PATCH, ZipEntry
from relay.archive.end_record import EndRecord
from relay.archive.findings import Findings, printable
from relay.model import Localized

MIB = 1024 * 1024
STORED, DEFLATED = 0, 8

_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "xz",
    98: "PPMd",
    99: "AES",
}
_DEFLATE_MAX_RATIO = 1032
"""The maximum compression ratio of Deflate: 258 bytes in two bits."""

_SPECIAL = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
"""Special file types. Other values are ignored: the packer of Maven writes meaningless ones."""

_MAX_PATH = 1024
_MAX_SEGMENT = 255
_DRIVE = re.compile(r"^[A-Za-z]:")
# Narrower than `is_invisible` of relay.config.text, which decides what is shown as an escape:
# file names do contain no-break spaces, private-use characters and new emoji.
_DIRECTION = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\u061c]")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Limits for archives; sizes in bytes.

    `size` is the documented limit of the import API, and only a warning: targets have their own.
    `entries` is the limit of FunctionGraph for dependency packages, `unpacked` that for code.
    `ratio` applies to entries of more than `ratio_from` unpacked bytes: small files may compress
    better.
    """

    size: int = 300 * MIB
    usual_size: int = 50 * MIB
    unpacked: int = 1500 * MIB
    entries: int = 30_000
    directory: int = 8 * MIB
    ratio: int = 200
    ratio_from: int = 10 * MIB
    yaml: int = MIB


def check_entries(
    entries: Sequence[ZipEntry], end: EndRecord, limits: ArchiveLimits, findings: Findings
) -> None:
    """Add everything that is wrong according to the directory and the local headers read so far."""
    if not entries:
        findings.add("archive.empty")
    for entry in entries:
        _check_name(entry.name, findings)
        _check_type(entry, findings)
        _check_compression(entry, limits, findings)
    total = sum(entry.size for entry in entries)
    if total > limits.unpacked:
        findings.add("archive.bomb_sum", size=total, limit=limits.unpacked)
    _check_collisions([entry.name for entry in entries], findings)
    _check_positions(entries, end, findings)


def _check_name(name: str, findings: Findings) -> None:
    parts = name.split("/")
    wrong = {
        "archive.name_empty": not name.strip("/"),
        "archive.name_long": len(name) > _MAX_PATH or max(map(len, parts)) > _MAX_SEGMENT,
        "archive.name_absolute": name.startswith("/") and bool(name.strip("/")),
        "archive.name_parent": ".." in re.split(r"[/\\]", name),
        "archive.name_drive": bool(_DRIVE.match(name)),
        "archive.name_backslash": "\\" in name,
        "archive.name_control": any(unicodedata.category(char) == "Cc" for char in name),
        "archive.name_direction": bool(_DIRECTION.search(name)),
    }
    for code, applies in wrong.items():
        if applies:
            findings.add(code, name)


def _check_type(entry: ZipEntry, findings: Findings) -> None:
    file_type = stat.S_IFMT(entry.mode)
    if file_type == stat.S_IFLNK:
        findings.add("archive.link", entry.name)
    elif file_type in _SPECIAL:
        findings.add("archive.device", entry.name)
    if entry.is_folder and entry.size:
        findings.add("archive.folder_content", entry.name)
    if file_type == stat.S_IFDIR and not entry.is_folder:
        findings.add("archive.file_and_folder", entry.name)


def _check_compression(entry: ZipEntry, limits: ArchiveLimits, findings: Findings) -> None:
    if entry.flags & ENCRYPTED or entry.method == 99:
        findings.add("archive.encrypted", entry.name)
    elif entry.method not in (STORED, DEFLATED) or entry.flags & PATCH:
        findings.add("archive.method", entry.name, method=_method_name(entry))
    elif not _is_possible_size(entry):
        findings.add("archive.sizes", entry.name, size=entry.size, compressed=entry.compressed)
    elif entry.size > limits.ratio_from and entry.size > limits.ratio * entry.compressed:
        findings.add("archive.bomb_ratio", entry.name, ratio=entry.size // entry.compressed)


def _method_name(entry: ZipEntry) -> Localized | str:
    if entry.flags & PATCH:
        return Localized("a patch", "补丁")
    return _METHODS.get(entry.method, Localized(f"method {entry.method}", f"方法 {entry.method}"))


def _is_possible_size(entry: ZipEntry) -> bool:
    if entry.method == STORED:
        return entry.size == entry.compressed
    return entry.size <= _DEFLATE_MAX_RATIO * entry.compressed


def _check_collisions(names: Sequence[str], findings: Findings) -> None:
    exact: set[str] = set()
    same: dict[str, str] = {}
    same_folded: dict[str, str] = {}
    for name in names:
        if name in exact:
            findings.add("archive.duplicate", name)
            continue
        exact.add(name)
        path = _normalize(name)
        other = same.setdefault(path, name)
        if other.rstrip("/") == name.rstrip("/") and other != name:
            findings.add("archive.file_and_folder", name.rstrip("/"))
        elif other != name:
            findings.add("archive.collision", name, other=f'"{printable(other)}"')
        elif (other := same_folded.setdefault(path.casefold(), name)) != name:
            findings.add("archive.case", name, other=f'"{printable(other)}"')
    _check_folders(names, findings)


def _check_folders(names: Sequence[str], findings: Findings) -> None:
    short = [name for name in names if len(name) <= _MAX_PATH]
    files = {_normalize(name): name for name in short if not name.endswith("/")}
    seen: set[str] = set()
    for name in short:
        parent = posixpath.dirname(_normalize(name))
        while parent and parent != "/" and parent not in seen:
            seen.add(parent)
            if parent in files:
                findings.add("archive.file_and_folder", files[parent])
            parent = posixpath.dirname(parent)


def _normalize(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _check_positions(entries: Sequence[ZipEntry], end: EndRecord, findings: Findings) -> None:
    """Check that the entries follow each other without overlaps and gaps."""
    ordered = sorted(entries, key=lambda entry: entry.offset)
    if ordered and ordered[0].offset > end.base:
        findings.add("archive.prefix", count=ordered[0].offset - end.base)
    for entry, after in pairwise(ordered):
        _check_position(entry, after.offset, after.name, findings)
    if ordered:
        _check_position(ordered[-1], end.directory, None, findings)


def _check_position(entry: ZipEntry, limit: int, before: str | None, findings: Findings) -> None:
    if entry.earliest_end > limit:
        findings.add("archive.overlap", entry.name)
    elif entry.data is None:
        return
    elif entry.flags & DESCRIPTOR:
        if limit - entry.earliest_end not in DESCRIPTOR_SIZES:
            findings.add("archive.descriptor", entry.name)
    elif limit > entry.earliest_end:
        following = (
            Localized("the directory", "目录") if before is None else f'"{printable(before)}"'
        )
        findings.add("archive.gap", entry.name, count=limit - entry.earliest_end, before=following)
