"""Hostile archives: each is refused with a specific finding, or accepted for a stated reason."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib

import pytest

from relay.archive.inspect import inspect
from relay.testing.sandbox.exports import make_export
from tests.archive.conftest import YAML, File, StoredObject, Zip, deflate, good_files

MIB = 1024 * 1024


def zip64_extra(*values):
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def unicode_name(raw, name):
    body = b"\1" + struct.pack("<L", zlib.crc32(raw)) + name
    return struct.pack("<2H", 0x7075, len(body)) + body


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("index.py"), io.BytesIO())
    return file.getvalue()


def with_file(*args, **changes):
    return lambda: Zip([*good_files(), File(*args, **changes)]).bytes()


def with_files(*names):
    return lambda: Zip([*good_files(), *map(File, names)]).bytes()


def with_zip(**changes):
    return lambda: Zip(good_files(), **changes).bytes()


def good():
    return Zip(good_files()).bytes()


def nested():
    """Return an export whose code is a stored zip near the end of the object."""
    return make_export("hello")


WHOLE = {
    "no bytes": ("archive.empty_object", lambda: b""),
    "a single byte": ("archive.not_a_zip", lambda: b"P"),
    "text named .zip": ("archive.not_a_zip", lambda: b"hello, this is text\n" * 9),
    "zeros": ("archive.not_a_zip", lambda: bytes(5000)),
    "gzip": ("archive.not_a_zip", lambda: gzip.compress(b"x" * 999)),
    "tar": ("archive.not_a_zip", tar),
    "7z": ("archive.not_a_zip", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(99)),
    "rar": ("archive.not_a_zip", lambda: b"Rar!\x1a\x07\x01\0" + bytes(99)),
    "an error response of a storage": (
        "archive.not_a_zip",
        lambda: b"<?xml version='1.0'?><Error/>",
    ),
    "a web page": ("archive.not_a_zip", lambda: b"<!DOCTYPE html><html></html>"),
    "json": ("archive.not_a_zip", lambda: b'{"error": "denied"}' * 3),
    "cut in the middle": ("archive.truncated", lambda: good()[:3000]),
    "cut in the last record": ("archive.truncated", lambda: good()[:-5]),
    "cut before the directory": ("archive.truncated", lambda: nested()[:-200]),
    "cut right after an inner zip": (
        "archive.prefix",
        lambda: nested()[: nested().rindex(b"PK\3\4")],
    ),
    "cut inside the comment": (
        "archive.truncated",
        lambda: with_zip(comment=b"a comment")()[:-3],
    ),
    "no files": ("archive.empty", lambda: Zip([]).bytes()),
    "a part of a split archive": (
        "archive.multi_disk",
        with_zip(end={"disk": 1, "directory_disk": 1}),
    ),
    "the first part of a split archive": ("archive.multi_disk", lambda: b"PK\7\x08" + good()[:200]),
    "entries on other disks": ("archive.multi_disk", with_zip(end={"here": 1})),
    "an entry on another disk": ("archive.multi_disk", with_file(central={"disk": 3})),
    "a program in front": ("archive.prefix", lambda: b"MZ" + bytes(500) + good()),
    "two zips in one": ("archive.prefix", lambda: Zip([File()]).bytes() + good()),
    "a prefix that the offsets count": (
        "archive.prefix",
        lambda: Zip([File("b", before=b"#!/bin/sh\n"), *good_files()]).bytes(),
    ),
    "a few bytes after the end": ("archive.trailing", lambda: good() + b"junk"),
    "many bytes after the end": ("archive.trailing", lambda: good() + bytes(40_000)),
    "the same zip twice": ("archive.two_ends", lambda: good() + good()),
    "an empty zip as comment": (
        "archive.prefix",
        lambda: Zip(good_files(), comment=Zip([]).bytes()).bytes(),
    ),
    "an empty end record in the comment": (
        "archive.two_ends",
        with_zip(comment=b"..PK\5\6" + bytes(30)),
    ),
}

DIRECTORY = {
    "zip64 locator missing": ("archive.zip64", with_zip(end={"offset": 0xFFFFFFFF})),
    "zip64 disagrees on the count": ("archive.zip64", with_zip(zip64={"entries": 1, "here": 1})),
    "zip64 record elsewhere": ("archive.zip64", with_zip(zip64={"record": 90})),
    "zip64 on another disk": ("archive.multi_disk", with_zip(zip64={"disks": 2})),
    "zip64 with a smaller size": ("archive.zip64", with_zip(zip64={"size": 46})),
    "zip64 sizes of an entry missing": (
        "archive.zip64",
        with_file("big", central={"size": 0xFFFFFFFF}),
    ),
    "zip64 sizes of an entry truncated": (
        "archive.zip64",
        with_file("big", central={"offset": 0xFFFFFFFF}, central_extra=b"\1\0\4\0abcd"),
    ),
    "directory beyond the end": ("archive.directory", with_zip(end={"offset": 9_000_000})),
    "directory too long": ("archive.directory", with_zip(end={"size": 9_000_000})),
    "directory without entries": (
        "archive.directory",
        lambda: good().replace(b"PK\1\2", b"PK\1\3"),
    ),
    "fewer entries than declared": ("archive.directory", with_zip(end={"here": 3, "entries": 3})),
    "more entries than declared": ("archive.directory", with_zip(end={"here": 1, "entries": 1})),
    "a name that leaves the directory": (
        "archive.directory",
        lambda: good()[:-22].replace(b"\x0a\0\0\0\0\0", b"\xff\xff\0\0\0\0") + good()[-22:],
    ),
    "more entries than allowed": (
        "archive.too_many",
        with_zip(end={"here": 40_000, "entries": 40_000}),
    ),
    "a directory of 9 MiB": (
        "archive.directory_size",
        with_zip(before_directory=b"", after_directory=bytes(9 * MIB)),
    ),
    "bytes between directory and end": ("archive.gap", with_zip(after_directory=b"hidden")),
    "bytes before the directory": ("archive.gap", with_zip(before_directory=b"hidden")),
    "bytes between two files": ("archive.gap", with_file("b", before=b"PK\3\4hidden")),
    "two entries with the same data": ("archive.overlap", with_file("b", central={"offset": 0})),
    "an entry that overlaps the next": (
        "archive.overlap",
        lambda: Zip(
            [File("a", b"abc", central={"compressed": 60, "size": 60}), *good_files()]
        ).bytes(),
    ),
    "an entry that overlaps the directory": (
        "archive.overlap",
        with_file("b", central={"compressed": 600, "size": 600}),
    ),
    "an entry without a local header": ("archive.local_missing", with_file(central={"offset": 3})),
    "an entry after the end": (
        "archive.local_missing",
        with_file(central={"offset": 0x7FFFFFFF}),
    ),
    "a local header that ends nowhere": (
        "archive.local_missing",
        lambda: good().replace(b"\x0a\0\0\0hello.yaml", b"\xff\xff\0\0hello.yaml", 1),
    ),
}

NAMES = {
    "absolute": ("archive.name_absolute", with_file("/etc/passwd")),
    "parent": ("archive.name_parent", with_file("../../etc/passwd")),
    "parent in the middle": ("archive.name_parent", with_file("a/../../b")),
    "parent by backslash": ("archive.name_parent", with_file("a\\..\\b")),
    "drive": ("archive.name_drive", with_file("C:/windows/x")),
    "backslash": ("archive.name_backslash", with_file("a\\b")),
    "NUL": ("archive.name_control", with_file("index.py\0.txt")),
    "new line": ("archive.name_control", with_file("a\nb")),
    "escape": ("archive.name_control", with_file("\x1b[2Ja")),
    "right to left": ("archive.name_direction", with_file("gpj.\u202eyp.exe", flags=0x800)),
    "zero width": ("archive.name_direction", with_file("index\u200b.py", flags=0x800)),
    "empty": ("archive.name_empty", with_file("")),
    "a slash": ("archive.name_empty", with_file("/", b"")),
    "too long": ("archive.name_long", with_file("a" * 300)),
    "not UTF-8": ("archive.name_encoding", with_file(b"\xff\xfe", flags=0x800)),
    "a second name": (
        "archive.two_names",
        with_file("good.txt", central_extra=unicode_name(b"good.txt", b"evil.txt")),
    ),
    "twice": ("archive.duplicate", with_files("a", "a")),
    "the code twice": ("archive.duplicate", with_files("index.zip")),
    "two spellings of a path": ("archive.collision", with_files("a/b", "a//b")),
    "dot": ("archive.collision", with_files("./index.zip")),
    "Unicode composed and not": (
        "archive.collision",
        lambda: Zip(
            [
                *good_files(),
                File("caf\u00e9", flags=0x800),
                File("cafe\u0301", flags=0x800),
            ]
        ).bytes(),
    ),
    "file as folder": ("archive.file_and_folder", with_files("a", "a/b")),
    "file as folder, deep": ("archive.file_and_folder", with_files("a/b/c/d", "a/b")),
    "file and folder of the same name": (
        "archive.file_and_folder",
        lambda: Zip([*good_files(), File("a"), File("a/", b"")]).bytes(),
    ),
    "folder by its mode only": ("archive.file_and_folder", with_file("a", b"", mode=0o40755)),
    "folder with content": ("archive.folder_content", with_file("a/", b"content")),
    "link": ("archive.link", with_file("a", b"/etc/passwd", mode=0o120777)),
    "device": ("archive.device", with_file("a", b"", mode=0o20666)),
    "pipe": ("archive.device", with_file("a", b"", mode=0o10666)),
}

PACKING = {
    "encrypted": ("archive.encrypted", with_file(flags=1)),
    "strongly encrypted": ("archive.encrypted", with_file(flags=0x41)),
    "AES": ("archive.encrypted", with_file(method=99)),
    "encrypted locally only": ("archive.headers_differ", with_file(local={"flags": 1})),
    "bzip2": ("archive.method", with_file(method=12)),
    "zstd": ("archive.method", with_file(method=93)),
    "unknown method": ("archive.method", with_file(method=4711)),
    "stored in fewer bytes": ("archive.sizes", with_file(central={"size": 9000})),
    "more than deflate can": (
        "archive.sizes",
        with_file(method=8, central={"size": 900_000}, local={"size": 900_000}),
    ),
    "from no data": ("archive.sizes", with_file(method=8, packed=b"", content=b"x")),
    "bomb by ratio": ("archive.bomb_ratio", with_file("zeros", bytes(20 * MIB), method=8)),
    "bomb by sum": (
        "archive.bomb_sum",
        with_file(method=8, packed=bytes(8 * MIB), central={"size": 1501 * MIB}),
    ),
    "another name in the local header": (
        "archive.headers_differ",
        with_file("a", local={"name": b"b"}),
    ),
    "another method inside": (
        "archive.headers_differ",
        with_file(method=8, local={"method": 0}),
    ),
    "another CRC in the local header": ("archive.headers_differ", with_file(local={"crc": 1})),
    "another size in the local header": ("archive.headers_differ", with_file(local={"size": 1})),
    "another encoding in the local header": (
        "archive.headers_differ",
        with_file(local={"flags": 0x800}),
    ),
    "zip64 inside without sizes": (
        "archive.headers_differ",
        with_file(local={"size": 0xFFFFFFFF}),
    ),
    "zip64 inside with others": (
        "archive.headers_differ",
        with_file(local={"size": 0xFFFFFFFF}, local_extra=zip64_extra(8)),
    ),
    "extra fields longer than they are": (
        "archive.extra",
        with_file(central_extra=b"\1\0\4\0"),
    ),
    "a version that does not exist": ("archive.version", with_file(central={"needed": 127})),
    "a patch": ("archive.method", with_file(flags=0x20)),
    "no descriptor": ("archive.descriptor", with_file(flags=8, descriptor=b"")),
    "a descriptor that is too long": (
        "archive.descriptor",
        with_file(flags=8, descriptor=bytes(17)),
    ),
    "the YAML damaged": (
        "archive.crc",
        lambda: good().replace(b"Timeout: 3", b"Timeout: 4"),
    ),
    "the YAML not inflatable": (
        "archive.inflate",
        lambda: Zip([good_files()[0], File("a.yaml", YAML, 8, packed=b"\xff" * 99)]).bytes(),
    ),
    "the YAML larger than declared": (
        "archive.size_differs",
        lambda: Zip(
            [
                good_files()[0],
                File("a.yaml", YAML, 8, central={"size": 50}, local={"size": 50}),
            ]
        ).bytes(),
    ),
    "the YAML followed by other data": (
        "archive.inflate",
        lambda: Zip(
            [good_files()[0], File("a.yaml", YAML, 8, packed=deflate(YAML) + b"more")]
        ).bytes(),
    ),
}

HOSTILE = {
    f"{group}: {name}": case
    for group, cases in (
        ("whole", WHOLE),
        ("directory", DIRECTORY),
        ("name", NAMES),
        ("packing", PACKING),
    )
    for name, case in cases.items()
}


@pytest.mark.parametrize(("code", "build"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_archive_is_refused_with_its_finding(code, build):
    stored = StoredObject(build())
    report = inspect(stored.size, stored.read)
    assert code in [finding.code for finding in report.errors]
    for finding in report.findings:
        assert finding.message.en
        assert finding.message.zh
        assert finding.message.en != finding.message.zh
        assert finding.hint.en
        assert finding.hint.zh
        assert "{" not in finding.message.en.replace("\\u{", "")


def test_at_least_a_hundred_hostile_archives_are_tested():
    assert len(HOSTILE) >= 100


ACCEPTED = {
    "an ordinary export": (set(), good),
    "a comment": (set(), with_zip(comment=b"made by hand")),
    "ZIP64 where it is not needed": (set(), with_zip(zip64={})),
    "ZIP64 for the last record": (
        set(),
        with_zip(zip64={}, end={"size": 0xFFFFFFFF, "offset": 0xFFFFFFFF, "entries": 0xFFFF}),
    ),
    "ZIP64 for an entry": (
        set(),
        with_file(
            "b",
            local={"size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF},
            local_extra=zip64_extra(7, 7),
            central={"size": 0xFFFFFFFF, "compressed": 0xFFFFFFFF},
            central_extra=zip64_extra(7, 7),
        ),
    ),
    "descriptor": (set(), with_file("b", flags=8)),
    "descriptor without signature": (set(), with_file("b", flags=8, descriptor="plain")),
    "descriptor of 64 bits": (set(), with_file("b", flags=8, descriptor="wide")),
    "an empty file, deflated": (set(), with_file("b", b"", method=8)),
    "a folder": (set(), with_file("b/", b"", mode=0o40755)),
    "a folder, deflated to two bytes": (set(), with_file("b/", b"", method=8)),
    "three bytes of padding": (set(), with_file("b", central_extra=b"\0\0\0")),
    "an invalid file type, as written by Maven": (set(), with_file("b/", b"", mode=0o150755)),
    "no Unix mode": (set(), with_file("b", mode=0)),
    "Chinese in UTF-8": (set(), with_file("函数.txt", flags=0x800)),
    "a no-break space": (set(), with_file("a\u00a0b.txt", flags=0x800)),
    "a private-use character": (set(), with_file("a\ue000.txt", flags=0x800)),
    "a character unknown to this Python": (set(), with_file("a\U0001fc00.txt", flags=0x800)),
    "a second name that is the same": (
        set(),
        with_file("b", central_extra=unicode_name(b"b", b"b")),
    ),
    "a stale second name": (set(), with_file("b", central_extra=unicode_name(b"other", b"c"))),
    "a small file that repeats": (set(), with_file("b", bytes(MIB), method=8)),
    # Functions run on Linux, which keeps both.
    "upper and lower case": ({"archive.case"}, with_files("Readme", "README")),
    # The cloud may show the name incorrectly; the content is not affected.
    "Chinese in an undeclared encoding": (
        {"archive.name_unmarked"},
        with_file("函数".encode("gbk")),
    ),
}


@pytest.mark.parametrize(("warnings", "build"), ACCEPTED.values(), ids=ACCEPTED)
def test_an_accepted_archive_is_streamed_completely(warnings, build):
    stored = StoredObject(build())
    archive = stored.archive()
    assert archive.report.errors == ()
    assert {finding.code for finding in archive.report.findings} == warnings
    assert b"".join(archive.chunks()) == stored.content
