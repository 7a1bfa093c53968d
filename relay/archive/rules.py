"""The rules that entries must keep, one by one and together: names, kinds, sizes, places."""

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
from relay.archive.findings import Findings, shown
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
_DEFLATE_BEST = 1032
"""Deflate cannot pack better than 1:1032 (258 bytes in two bits)."""

_SPECIAL = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)
"""Kinds that exist; Maven's packer writes others, which mean nothing to anybody."""

_LONGEST_PATH = 1024
_LONGEST_PART = 255
_DRIVE = re.compile(r"^[A-Za-z]:")
_DIRECTION = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\u061c]")


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may be; sizes in bytes.

    `entries` is FunctionGraph's own limit for dependency packages, `unpacked` its limit for code.
    `ratio` counts from `ratio_from` unpacked bytes on: small files may repeat as they like.
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
    entries: Sequence[ZipEntry], end: EndRecord, limits: ArchiveLimits, found: Findings
) -> None:
    """Everything that the directory and the local headers seen so far tell."""
    if not entries:
        found.add("archive.empty")
    for entry in entries:
        _check_name(entry.name, found)
        _check_kind(entry, found)
        _check_packing(entry, limits, found)
    total = sum(entry.size for entry in entries)
    if total > limits.unpacked:
        found.add("archive.bomb_sum", size=total, limit=limits.unpacked)
    _check_names_together([entry.name for entry in entries], found)
    _check_places(entries, end, found)


def _check_name(name: str, found: Findings) -> None:
    parts = name.split("/")
    wrong = {
        "archive.name_empty": not name.strip("/"),
        "archive.name_long": len(name) > _LONGEST_PATH or max(map(len, parts)) > _LONGEST_PART,
        "archive.name_absolute": name.startswith("/") and bool(name.strip("/")),
        "archive.name_parent": ".." in re.split(r"[/\\]", name),
        "archive.name_drive": bool(_DRIVE.match(name)),
        "archive.name_backslash": "\\" in name,
        "archive.name_control": any(unicodedata.category(char) == "Cc" for char in name),
        "archive.name_direction": bool(_DIRECTION.search(name)),
    }
    for code, is_so in wrong.items():
        if is_so:
            found.add(code, name)


def _check_kind(entry: ZipEntry, found: Findings) -> None:
    kind = stat.S_IFMT(entry.mode)
    if kind == stat.S_IFLNK:
        found.add("archive.link", entry.name)
    elif kind in _SPECIAL:
        found.add("archive.device", entry.name)
    if entry.folder and entry.size:
        found.add("archive.folder_content", entry.name)
    if kind == stat.S_IFDIR and not entry.folder:
        found.add("archive.file_and_folder", entry.name)


def _check_packing(entry: ZipEntry, limits: ArchiveLimits, found: Findings) -> None:
    if entry.flags & ENCRYPTED or entry.method == 99:
        found.add("archive.encrypted", entry.name)
    elif entry.method not in (STORED, DEFLATED) or entry.flags & PATCH:
        found.add("archive.method", entry.name, method=_method(entry))
    elif not _possible(entry):
        found.add("archive.sizes", entry.name, size=entry.size, compressed=entry.compressed)
    elif entry.size > limits.ratio_from and entry.size > limits.ratio * entry.compressed:
        found.add("archive.bomb_ratio", entry.name, ratio=entry.size // entry.compressed)


def _method(entry: ZipEntry) -> Localized | str:
    if entry.flags & PATCH:
        return Localized("a patch", "补丁")
    return _METHODS.get(entry.method, Localized(f"method {entry.method}", f"方法 {entry.method}"))


def _possible(entry: ZipEntry) -> bool:
    if entry.method == STORED:
        return entry.size == entry.compressed
    return entry.size <= _DEFLATE_BEST * entry.compressed


def _check_names_together(names: Sequence[str], found: Findings) -> None:
    exact: set[str] = set()
    same: dict[str, str] = {}
    alike: dict[str, str] = {}
    for name in names:
        if name in exact:
            found.add("archive.duplicate", name)
            continue
        exact.add(name)
        path = _path(name)
        other = same.setdefault(path, name)
        if other.rstrip("/") == name.rstrip("/") and other != name:
            found.add("archive.file_and_folder", name.rstrip("/"))
        elif other != name:
            found.add("archive.collision", name, other=f'"{shown(other)}"')
        elif (other := alike.setdefault(path.casefold(), name)) != name:
            found.add("archive.case", name, other=f'"{shown(other)}"')
    _check_folders(names, found)


def _check_folders(names: Sequence[str], found: Findings) -> None:
    short = [name for name in names if len(name) <= _LONGEST_PATH]
    files = {_path(name): name for name in short if not name.endswith("/")}
    seen: set[str] = set()
    for name in short:
        parent = posixpath.dirname(_path(name))
        while parent and parent != "/" and parent not in seen:
            seen.add(parent)
            if parent in files:
                found.add("archive.file_and_folder", files[parent])
            parent = posixpath.dirname(parent)


def _path(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _check_places(entries: Sequence[ZipEntry], end: EndRecord, found: Findings) -> None:
    """Whether the entries lie one after the other, with nothing shared and nothing between."""
    placed = sorted(entries, key=lambda entry: entry.offset)
    if placed and placed[0].offset > end.base:
        found.add("archive.prefix", count=placed[0].offset - end.base)
    for entry, after in pairwise(placed):
        _check_place(entry, after.offset, after.name, found)
    if placed:
        _check_place(placed[-1], end.directory, None, found)


def _check_place(entry: ZipEntry, limit: int, before: str | None, found: Findings) -> None:
    if entry.least_end > limit:
        found.add("archive.overlap", entry.name)
    elif entry.data is None:
        return
    elif entry.flags & DESCRIPTOR:
        if limit - entry.least_end not in DESCRIPTOR_SIZES:
            found.add("archive.descriptor", entry.name)
    elif limit > entry.least_end:
        place = Localized("the directory", "目录") if before is None else f'"{shown(before)}"'
        found.add("archive.gap", entry.name, count=limit - entry.least_end, before=place)
