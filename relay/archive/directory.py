"""The entries of a zip: reads its directory and the local headers, and compares the two.

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
    """One file or folder of the archive, as its directory describes it.

    `offset` is where its local header starts; `data` its first byte of data, None when the local
    header was not looked at. `mode` holds the Unix file mode, 0 when it has none.
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
    def folder(self) -> bool:
        return self.name.endswith("/")

    @property
    def least_end(self) -> int:
        """The first byte after its data, if nothing but the name stands in between."""
        if self.data is not None:
            return self.data + self.compressed
        return self.offset + LOCAL.size + self.compressed


def read_directory(directory: bytes, end: EndRecord, found: Findings) -> tuple[ZipEntry, ...]:
    """All entries in the order of the directory; stops where it is damaged."""
    entries: list[ZipEntry] = []
    at = 0
    while len(entries) < end.entries:
        if directory[at : at + 4] != CENTRAL_SIGNATURE or at + CENTRAL.size > len(directory):
            _damaged(found, f"entry {len(entries) + 1} is missing", f"缺少第 {len(entries) + 1} 项")
            break
        fields = CENTRAL.unpack_from(directory, at)
        lengths = fields[10:13]
        stop = at + CENTRAL.size + sum(lengths)
        if stop > len(directory):
            _damaged(found, f"entry {len(entries) + 1} is cut", f"第 {len(entries) + 1} 项被截断")
            break
        entries.append(_entry(fields, directory[at + CENTRAL.size : stop], end.base, found))
        at = stop
    else:
        if at != len(directory):
            _damaged(found, "it holds more than its end says", "其内容多于结尾记录所述")
    return tuple(entries)


def _entry(fields: tuple[int, ...], rest: bytes, base: int, found: Findings) -> ZipEntry:
    flags, method, crc = fields[3], fields[4], fields[7]
    name_length, extra_length = fields[10], fields[11]
    raw = rest[:name_length]
    extra = rest[name_length : name_length + extra_length]
    name = decoded(raw, flags)
    if flags & UTF8 and "\ufffd" in name:
        found.add("archive.name_encoding", name)
    elif not flags & UTF8 and not raw.isascii():
        found.add("archive.name_unmarked", name)
    if fields[2] & 0xFF > NEWEST_VERSION:
        found.add("archive.version", name, version=fields[2] & 0xFF)
    if not _extras_fit(extra):
        found.add("archive.extra", name)
    if _second_name(extra, raw, flags):
        found.add("archive.two_names", name)
    wide = _wide((fields[9], fields[8], fields[16]), extra)
    if wide is None:
        found.add(
            "archive.zip64",
            name,
            detail=Localized(f"sizes of {name!r:.80}", f"{name!r:.80} 的大小"),
        )
        wide = fields[9], fields[8], fields[16]
    size, compressed, offset = wide
    if fields[13] not in (0, 0xFFFF):
        found.add("archive.multi_disk")
    return ZipEntry(
        name, method, size, compressed, crc, flags, offset + base, mode=fields[15] >> 16
    )


def decoded(raw: bytes, flags: int) -> str:
    """A name as text: UTF-8 when it says so (with U+FFFD where it lies), else code page 437."""
    return raw.decode("utf-8", "replace") if flags & UTF8 else raw.decode("cp437")


def _extras(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _extras_fit(extra: bytes) -> bool:
    """Whether no field claims more bytes than there are; up to three bytes may pad the end."""
    at = 0
    while at + 4 <= len(extra):
        at += 4 + struct.unpack_from("<2H", extra, at)[1]
    return at <= len(extra)


def _wide(values: tuple[int, ...], extra: bytes) -> tuple[int, ...] | None:
    """The values with ZIP64's in place of the blank ones; None when those are missing."""
    blanks = values.count(_BLANK)
    if not blanks:
        return values
    large = next((body for kind, body in _extras(extra) if kind == _ZIP64), b"")
    if len(large) < 8 * blanks:
        return None
    numbers = iter(struct.unpack_from(f"<{blanks}Q", large))
    return tuple(next(numbers) if value == _BLANK else value for value in values)


def _second_name(extra: bytes, raw: bytes, flags: int) -> bool:
    """Whether Info-ZIP's Unicode path (it counts while its CRC fits) says another name.

    For a name in an unnamed encoding that is what it is there for.
    """
    if not (flags & UTF8 or raw.isascii()):
        return False
    paths = (body for kind, body in _extras(extra) if kind == _UNICODE_NAME and len(body) > 5)
    return any(
        path[5:] != raw and struct.unpack_from("<L", path, 1)[0] == zlib.crc32(raw)
        for path in paths
    )


def local_rest(header: bytes) -> int | None:
    """How many bytes of name and extra follow these 30; None when it is no local header."""
    fields = LOCAL.unpack(header)
    return fields[9] + fields[10] if fields[0] == LOCAL_SIGNATURE else None


def differences(entry: ZipEntry, header: bytes, rest: bytes) -> Localized | None:
    """In which fields a local header (30 bytes, then name and extra) denies the directory."""
    _, _, flags, method, _, _, crc, compressed, size, name_length, _ = LOCAL.unpack(header)
    raw, extra = rest[:name_length], rest[name_length:]
    sizes = _wide((size, compressed), extra)
    later = bool(flags & DESCRIPTOR)
    differ = {
        Localized("name", "名称"): decoded(raw, flags) != entry.name
        or _second_name(extra, raw, flags),
        Localized("method", "压缩方法"): method != entry.method,
        Localized("flags", "标志"): bool((flags ^ entry.flags) & (ENCRYPTED | UTF8 | DESCRIPTOR)),
        Localized("CRC", "CRC"): crc != entry.crc and not (later and crc == 0),
        Localized("sizes", "大小"): not _sizes_fit(entry, sizes, later),
    }
    fields = [field for field, is_other in differ.items() if is_other]
    return Localized(*(", ".join(told) for told in zip(*fields, strict=True))) if fields else None


def _sizes_fit(entry: ZipEntry, sizes: tuple[int, ...] | None, later: bool) -> bool:
    if sizes is None:
        return False
    return all(
        told == true or (later and told in (0, _BLANK))
        for told, true in zip(sizes, (entry.size, entry.compressed), strict=True)
    )


def descriptor_fits(entry: ZipEntry, record: bytes) -> bool:
    """Whether the record after the data (one of four lengths) says what the directory says."""
    if len(record) in (16, 24) and not record.startswith(_DESCRIPTOR_SIGNATURE):
        return False
    numbers = record[-12:] if len(record) < 20 else record[-20:]
    form = "<3L" if len(numbers) == 12 else "<L2Q"
    return struct.unpack(form, numbers) == (entry.crc, entry.compressed, entry.size)


def _damaged(found: Findings, en: str, zh: str) -> None:
    found.add("archive.directory", detail=Localized(en, zh))
