"""Finds the end record of a zip, including ZIP64, and the position of the directory.

Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass

from relay.archive.findings import Findings
from relay.archive.readers import RangeReader
from relay.model import Localized

END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")

END_SIGNATURE = b"PK\x05\x06"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR_SIGNATURE = b"PK\x06\x07"
CENTRAL_SIGNATURE = b"PK\x01\x02"
LOCAL_SIGNATURE = b"PK\x03\x04"
SPLIT_SIGNATURE = b"PK\x07\x08"

FIRST_READ = 16 * 1024
MAX_END_SIZE = END.size + 0xFFFF
HEAD_SIZE = 512


@dataclass(frozen=True, slots=True)
class EndRecord:
    """The contents of the end record. `directory` is the actual start of the directory.

    `base` is the number of bytes before the archive; it is added to all offsets.
    """

    entries: int
    directory: int
    directory_size: int
    base: int = 0


@dataclass(frozen=True, slots=True)
class _Record:
    """The numbers in an end record. `start` is the first byte of all end records."""

    start: int
    disk: int
    directory_disk: int
    entries_here: int
    entries: int
    size: int
    offset: int


def find_end(reader: RangeReader, findings: Findings) -> EndRecord | None:
    """Return the end record, or None if there is no usable record; adds to `findings`."""
    at, exact = _locate(reader)
    if at is None:
        _identify(reader, findings)
        return None
    fields = END.unpack(reader.read(at, at + END.size))
    record = _with_zip64(reader, _Record(at, *fields[1:7]), findings)
    if record.disk or record.directory_disk or record.entries_here != record.entries:
        findings.add("archive.multi_disk")
        return None
    end = _resolve_base(reader, record, findings, exact)
    if end is None:
        return None
    stop = at + END.size + fields[7]
    if stop < reader.size:
        findings.add("archive.trailing", count=reader.size - stop)
    elif stop > reader.size:
        findings.add("archive.truncated")
    start = max(end.directory + end.directory_size, reader.size - MAX_END_SIZE)
    if reader.read(start, reader.size).count(END_SIGNATURE) > 1:
        findings.add("archive.two_ends")
    return end


def _locate(reader: RangeReader) -> tuple[int | None, bool]:
    """Return the offset of the end record and whether the comment ends at the last byte."""
    last = None
    for length in (FIRST_READ, MAX_END_SIZE):
        start = max(0, reader.size - length)
        tail = reader.read(start, reader.size)
        last = None
        at = tail.rfind(END_SIGNATURE, 0, len(tail) - END.size + len(END_SIGNATURE))
        while at >= 0:
            comment = END.unpack_from(tail, at)[7]
            if start + at + END.size + comment == reader.size:
                return start + at, True
            last = start + at if last is None else last
            at = tail.rfind(END_SIGNATURE, 0, at)
    return last, False


def _identify(reader: RangeReader, findings: Findings) -> None:
    head = reader.read(0, min(HEAD_SIZE, reader.size))
    if head.startswith(LOCAL_SIGNATURE):
        findings.add("archive.truncated")
    elif head.startswith(SPLIT_SIGNATURE):
        findings.add("archive.multi_disk")
    else:
        findings.add("archive.not_a_zip", kind=_kind(head))


_KINDS = (
    (b"\x1f\x8b", Localized("a gzip file", "gzip 文件")),
    (b"7z\xbc\xaf\x27\x1c", Localized("a 7z archive", "7z 压缩包")),
    (b"Rar!", Localized("a RAR archive", "RAR 压缩包")),
    (b"BZh", Localized("a bzip2 file", "bzip2 文件")),
    (b"\xfd7zXZ", Localized("an xz file", "xz 文件")),
    (b"\x28\xb5\x2f\xfd", Localized("a zstd file", "zstd 文件")),
    (b"%PDF", Localized("a PDF", "PDF 文件")),
    (b"\x7fELF", Localized("a program", "可执行程序")),
    (b"MZ", Localized("a Windows program", "Windows 程序")),
    (
        b"<?xml",
        Localized("XML, perhaps an error response of the storage", "XML，可能是存储返回的错误信息"),
    ),
    (b"<", Localized("a web page", "网页")),
    (b"{", Localized("JSON", "JSON 文本")),
)


def _kind(head: bytes) -> Localized:
    for magic, kind in _KINDS:
        if head.lstrip().startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return Localized("a tar archive", "tar 归档")
    if not head.strip(b"\0"):
        return Localized("nothing but zeros", "全零数据")
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return Localized("text", "文本")
    return Localized("other binary content", "其他二进制内容")


def _with_zip64(reader: RangeReader, short: _Record, findings: Findings) -> _Record:
    locator = short.start - LOCATOR.size
    if locator < 0 or reader.read(locator, locator + 4) != LOCATOR_SIGNATURE:
        if 0xFFFFFFFF in (short.size, short.offset):
            _zip64(findings, "the locator is missing", "缺少定位记录")
        return short
    _, disk, offset, disks = LOCATOR.unpack(reader.read(locator, locator + LOCATOR.size))
    if disk or disks > 1:
        findings.add("archive.multi_disk")
    record = _end64(reader, locator, offset)
    if record is None:
        _zip64(findings, "the record is not where the locator says", "定位记录所指的位置没有该记录")
        return short
    blanks = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    numbers = zip(astuple(short)[1:], astuple(record)[1:], blanks, strict=True)
    if any(small not in (large, blank) for small, large, blank in numbers):
        _zip64(findings, "the two end records have different numbers", "两个结尾记录的数值不同")
    return record


def _end64(reader: RangeReader, locator: int, offset: int) -> _Record | None:
    """Return the record at `offset`, or before the locator if `offset` ignores a prefix."""
    for at in (offset, locator - END64.size):
        if not 0 <= at <= locator - END64.size:
            continue
        signature, size, _, _, *numbers = END64.unpack(reader.read(at, at + END64.size))
        if signature == END64_SIGNATURE and at + 12 + size == locator:
            return _Record(at, *numbers)
    return None


def _resolve_base(
    reader: RangeReader, record: _Record, findings: Findings, exact: bool
) -> EndRecord | None:
    base = record.start - record.size - record.offset
    if base < 0:
        findings.add(
            "archive.directory",
            detail=Localized(
                "its position is after the end of the archive", "其位置超出压缩包结尾"
            ),
        )
        return None
    if base and reader.read(record.offset, record.offset + 4) == CENTRAL_SIGNATURE:
        findings.add("archive.gap", count=base, before=Localized("the end", "结尾"))
        base = 0
    if base and not exact and reader.read(0, 4) == LOCAL_SIGNATURE:
        # The end record belongs to a zip stored inside: the upload was truncated after it.
        findings.add("archive.truncated")
        return None
    if base:
        findings.add("archive.prefix", count=base)
    return EndRecord(record.entries, record.offset + base, record.size, base)


def _zip64(findings: Findings, en: str, zh: str) -> None:
    findings.add("archive.zip64", detail=Localized(en, zh))
