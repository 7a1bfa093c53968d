"""Reads the entries of a zip from the central directory and compares them with local headers.

Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.7 to 4.3.12 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from relay.archive.end_record import CENTRAL_SIGNATURE, LOCAL_SIGNATURE, EndRecord
from relay.archive.findings import Findings
from relay.model import Localized

CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")

ENCRYPTED = 0x0001 | 0x0040 | 0x2000
DESCRIPTOR = 0x0008
UTF8 = 0x0800
PATCH = 0x0020

_BLANK = 0xFFFFFFFF
_ZIP64 = 0x0001
_UNICODE_NAME = 0x7075
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
DESCRIPTOR_SIZES = (12, 16, 20, 24)
NEWEST_VERSION = 63


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file or folder of the archive as described by the central directory.

    `offset` is the start of the local header. `data` is the start of the data, or None if the local
    header was not read. `mode` is the Unix file mode, or 0.
    """

    name: str
    method: int
    size: int
    compressed: int
    crc: int
    flags: int
    offset: int
    data: int | None = None
    mode: int = 0

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")

    @property
    def earliest_end(self) -> int:
        """The offset after the data; a lower bound until the local header was read."""
        if self.data is not None:
            return self.data + self.compressed
        return self.offset + LOCAL.size + self.compressed


def read_directory(directory: bytes, end: EndRecord, findings: Findings) -> tuple[ZipEntry, ...]:
    """Return the entries in the order of the directory, up to the first damaged entry."""
    entries: list[ZipEntry] = []
    at = 0
    while len(entries) < end.entries:
        number = len(entries) + 1
        if directory[at : at + 4] != CENTRAL_SIGNATURE or at + CENTRAL.size > len(directory):
            _damaged(findings, f"entry {number} is missing", f"缺少第 {number} 项")
            break
        fields = CENTRAL.unpack_from(directory, at)
        lengths = fields[10:13]
        stop = at + CENTRAL.size + sum(lengths)
        if stop > len(directory):
            _damaged(findings, f"entry {number} is truncated", f"第 {number} 项被截断")
            break
        entries.append(_entry(fields, directory[at + CENTRAL.size : stop], end.base, findings))
        at = stop
    else:
        if at != len(directory):
            _damaged(findings, "it is longer than declared", "长度大于结尾记录所述")
    return tuple(entries)


def _entry(fields: tuple[int, ...], rest: bytes, base: int, findings: Findings) -> ZipEntry:
    flags, method, crc = fields[3], fields[4], fields[7]
    name_length, extra_length = fields[10], fields[11]
    raw = rest[:name_length]
    extra = rest[name_length : name_length + extra_length]
    name = decode_name(raw, flags)
    if flags & UTF8 and "\ufffd" in name:
        findings.add("archive.name_encoding", name)
    elif not flags & UTF8 and not raw.isascii():
        findings.add("archive.name_unmarked", name)
    if fields[2] & 0xFF > NEWEST_VERSION:
        findings.add("archive.version", name, version=fields[2] & 0xFF)
    if not _extras_are_valid(extra):
        findings.add("archive.extra", name)
    if _has_second_name(extra, raw, flags):
        findings.add("archive.two_names", name)
    sizes = _with_zip64((fields[9], fields[8], fields[16]), extra)
    if sizes is None:
        findings.add(
            "archive.zip64",
            name,
            detail=Localized(f"sizes of {name!r:.80}", f"{name!r:.80} 的大小"),
        )
        sizes = fields[9], fields[8], fields[16]
    size, compressed, offset = sizes
    if fields[13] not in (0, 0xFFFF):
        findings.add("archive.multi_disk")
    return ZipEntry(
        name, method, size, compressed, crc, flags, offset + base, mode=fields[15] >> 16
    )


def decode_name(raw: bytes, flags: int) -> str:
    """Decode a name as UTF-8 if flagged so (invalid bytes become U+FFFD), else as code page 437."""
    return raw.decode("utf-8", "replace") if flags & UTF8 else raw.decode("cp437")


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _extras_are_valid(extra: bytes) -> bool:
    # Up to three bytes of padding are allowed at the end.
    at = 0
    while at + 4 <= len(extra):
        at += 4 + struct.unpack_from("<2H", extra, at)[1]
    return at <= len(extra)


def _with_zip64(values: tuple[int, ...], extra: bytes) -> tuple[int, ...] | None:
    """Replace blank values with those of the ZIP64 field; None if they are missing."""
    blanks = values.count(_BLANK)
    if not blanks:
        return values
    large = next((body for kind, body in _extra_fields(extra) if kind == _ZIP64), b"")
    if len(large) < 8 * blanks:
        return None
    numbers = iter(struct.unpack_from(f"<{blanks}Q", large))
    return tuple(next(numbers) if value == _BLANK else value for value in values)


def _has_second_name(extra: bytes, raw: bytes, flags: int) -> bool:
    # The Unicode path of Info-ZIP is valid if the CRC matches. It may differ from a name in an
    # undeclared encoding, for which the field was made.
    if not (flags & UTF8 or raw.isascii()):
        return False
    paths = (body for kind, body in _extra_fields(extra) if kind == _UNICODE_NAME and len(body) > 5)
    return any(
        path[5:] != raw and struct.unpack_from("<L", path, 1)[0] == zlib.crc32(raw)
        for path in paths
    )


def variable_length(header: bytes) -> int | None:
    """Return the size of name and extra fields after a local header; None for other bytes."""
    fields = LOCAL.unpack(header)
    return fields[9] + fields[10] if fields[0] == LOCAL_SIGNATURE else None


def differences(entry: ZipEntry, header: bytes, rest: bytes) -> Localized | None:
    """Name the fields in which a local header (30 bytes, then `rest`) contradicts the directory."""
    _, _, flags, method, _, _, crc, compressed, size, name_length, _ = LOCAL.unpack(header)
    raw, extra = rest[:name_length], rest[name_length:]
    sizes = _with_zip64((size, compressed), extra)
    deferred = bool(flags & DESCRIPTOR)
    differ = {
        Localized("name", "名称"): decode_name(raw, flags) != entry.name
        or _has_second_name(extra, raw, flags),
        Localized("method", "压缩方法"): method != entry.method,
        Localized("flags", "标志"): bool((flags ^ entry.flags) & (ENCRYPTED | UTF8 | DESCRIPTOR)),
        Localized("CRC", "CRC"): crc != entry.crc and not (deferred and crc == 0),
        Localized("sizes", "大小"): not _sizes_match(entry, sizes, deferred),
    }
    fields = [field for field, differs in differ.items() if differs]
    return Localized(*(", ".join(names) for names in zip(*fields, strict=True))) if fields else None


def _sizes_match(entry: ZipEntry, sizes: tuple[int, ...] | None, deferred: bool) -> bool:
    if sizes is None:
        return False
    return all(
        local == central or (deferred and local in (0, _BLANK))
        for local, central in zip(sizes, (entry.size, entry.compressed), strict=True)
    )


def descriptor_matches(entry: ZipEntry, record: bytes) -> bool:
    """Return whether the data descriptor (of any of the four lengths) matches the directory."""
    if len(record) in (16, 24) and not record.startswith(_DESCRIPTOR_SIGNATURE):
        return False
    numbers = record[-12:] if len(record) < 20 else record[-20:]
    layout = "<3L" if len(numbers) == 12 else "<L2Q"
    return struct.unpack(layout, numbers) == (entry.crc, entry.compressed, entry.size)


def _damaged(findings: Findings, en: str, zh: str) -> None:
    findings.add("archive.directory", detail=Localized(en, zh))
