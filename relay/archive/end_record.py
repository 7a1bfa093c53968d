"""The end of a zip: finds its last record, with ZIP64, and where its directory lies.

Format: PKWARE APPNOTE.TXT 6.3.10, sections 4.3.14 to 4.3.16.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from relay.archive.findings import Findings
from relay.archive.range_reader import RangeReader
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

FIRST_LOOK = 16 * 1024
LONGEST_END = END.size + 0xFFFF
HEAD = 512


@dataclass(frozen=True, slots=True)
class EndRecord:
    """What the end says. `directory` is where the directory really begins.

    `base` is added to all offsets: how many bytes lie before the archive.
    """

    entries: int
    directory: int
    directory_size: int
    base: int = 0


@dataclass(frozen=True, slots=True)
class _Record:
    """The numbers of an end record. `start`: the first byte of all end records together."""

    start: int
    disk: int
    directory_disk: int
    entries_here: int
    entries: int
    size: int
    offset: int


def find_end(window: RangeReader, found: Findings) -> EndRecord | None:
    """The end, or None when there is none to work with; what is wrong goes to `found`."""
    at, exact = _position(window)
    if at is None:
        _tell_what_it_is(window, found)
        return None
    fields = END.unpack(window.at(at, at + END.size))
    record = _Record(at, *fields[1:7])
    record = _with_zip64(window, record, found) if _maybe_zip64(window, record) else record
    if record.disk or record.directory_disk or record.entries_here != record.entries:
        found.add("archive.multi_disk")
        return None
    end = _placed(window, record, found, exact)
    if end is None:
        return None
    _check_after(window, at + END.size + fields[7], found)
    if window.count(END_SIGNATURE, end.directory + end.directory_size) > 1:
        found.add("archive.two_ends")
    return end


def _position(window: RangeReader) -> tuple[int | None, bool]:
    """Where the end record is, and whether its comment reaches exactly to the last byte."""
    last = None
    for look in (FIRST_LOOK, LONGEST_END):
        start = max(0, window.size - look)
        tail = window.at(start, window.size)
        last = None
        at = tail.rfind(END_SIGNATURE, 0, len(tail) - END.size + len(END_SIGNATURE))
        while at >= 0:
            comment = END.unpack_from(tail, at)[7]
            if start + at + END.size + comment == window.size:
                return start + at, True
            last = start + at if last is None else last
            at = tail.rfind(END_SIGNATURE, 0, at)
    return last, False


def _tell_what_it_is(window: RangeReader, found: Findings) -> None:
    head = window.at(0, min(HEAD, window.size))
    if head.startswith(LOCAL_SIGNATURE):
        found.add("archive.truncated")
    elif head.startswith(SPLIT_SIGNATURE):
        found.add("archive.multi_disk")
    else:
        found.add("archive.not_a_zip", kind=_kind(head))


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
    (b"<?xml", Localized("XML, perhaps a store's error answer", "XML，可能是存储返回的错误信息")),
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


def _maybe_zip64(window: RangeReader, record: _Record) -> bool:
    at = record.start - LOCATOR.size
    located = at >= 0 and window.at(at, at + 4) == LOCATOR_SIGNATURE
    return located or 0xFFFFFFFF in (record.size, record.offset) or record.entries == 0xFFFF


def _with_zip64(window: RangeReader, short: _Record, found: Findings) -> _Record:
    locator = short.start - LOCATOR.size
    if locator < 0 or window.at(locator, locator + 4) != LOCATOR_SIGNATURE:
        if 0xFFFFFFFF in (short.size, short.offset):
            _zip64(found, "the locator is missing", "缺少定位记录")
        return short
    _, disk, offset, disks = LOCATOR.unpack(window.at(locator, locator + LOCATOR.size))
    if disk or disks > 1:
        found.add("archive.multi_disk")
    record = _end64(window, locator, offset)
    if record is None:
        _zip64(found, "the record is not where the locator says", "定位记录所指的位置没有该记录")
        return short
    _compare(short, record, found)
    return record


def _end64(window: RangeReader, locator: int, offset: int) -> _Record | None:
    """The record at `offset`, or right before the locator when `offset` does not count a prefix."""
    for at in (offset, locator - END64.size):
        if not 0 <= at <= locator - END64.size:
            continue
        signature, size, _, _, *numbers = END64.unpack(window.at(at, at + END64.size))
        if signature == END64_SIGNATURE and at + 12 + size == locator:
            return _Record(at, *numbers)
    return None


def _compare(short: _Record, record: _Record, found: Findings) -> None:
    pairs = (
        (short.disk, record.disk, 0xFFFF),
        (short.directory_disk, record.directory_disk, 0xFFFF),
        (short.entries_here, record.entries_here, 0xFFFF),
        (short.entries, record.entries, 0xFFFF),
        (short.size, record.size, 0xFFFFFFFF),
        (short.offset, record.offset, 0xFFFFFFFF),
    )
    if any(small not in (large, blank) for small, large, blank in pairs):
        _zip64(found, "the two ends name different numbers", "两个结尾记录的数值不同")


def _placed(window: RangeReader, record: _Record, found: Findings, exact: bool) -> EndRecord | None:
    base = record.start - record.size - record.offset
    if base < 0:
        found.add(
            "archive.directory",
            detail=Localized("it would lie behind the archive's end", "其位置超出压缩包结尾"),
        )
        return None
    if base and window.at(record.offset, record.offset + 4) == CENTRAL_SIGNATURE:
        found.add("archive.gap", count=base, before=Localized("the end", "结尾"))
        base = 0
    if base and not exact and window.at(0, 4) == LOCAL_SIGNATURE:
        # The end found belongs to a zip stored inside: the upload was cut after that.
        found.add("archive.truncated")
        return None
    if base:
        found.add("archive.prefix", count=base)
    return EndRecord(record.entries, record.offset + base, record.size, base)


def _check_after(window: RangeReader, stop: int, found: Findings) -> None:
    if stop < window.size:
        found.add("archive.trailing", count=window.size - stop)
    elif stop > window.size:
        found.add("archive.truncated")


def _zip64(found: Findings, en: str, zh: str) -> None:
    found.add("archive.zip64", detail=Localized(en, zh))
