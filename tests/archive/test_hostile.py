"""Archives that lie: each is refused with its own finding, or accepted for a stated reason."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zlib

import pytest

from relay.archive.inspect import inspect
from relay.testing.sandbox.exports import make_export

MIB = 1024 * 1024


def zip64_extra(*values):
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values)


def unicode_name(raw, name):
    body = b"\1" + struct.pack("<L", zlib.crc32(raw)) + name
    return struct.pack("<2H", 0x7075, len(body)) + body


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        made.addfile(tarfile.TarInfo("index.py"), io.BytesIO())
    return file.getvalue()


def with_file(*args, **changes):
    return lambda z: z.Zip([*z.good_files(), z.File(*args, **changes)]).bytes()


def with_files(*names):
    return lambda z: z.Zip([*z.good_files(), *map(z.File, names)]).bytes()


def with_zip(**changes):
    return lambda z: z.Zip(z.good_files(), **changes).bytes()


def good(z):
    return z.Zip(z.good_files()).bytes()


def nested(z):
    """An export whose code is a stored zip that ends within the last bytes of the object."""
    return make_export("hello")


WHOLE = {
    "nothing": ("archive.empty_object", lambda z: b""),
    "one byte": ("archive.not_a_zip", lambda z: b"P"),
    "text named .zip": ("archive.not_a_zip", lambda z: b"hello, this is text\n" * 9),
    "zeros": ("archive.not_a_zip", lambda z: bytes(5000)),
    "gzip": ("archive.not_a_zip", lambda z: gzip.compress(b"x" * 999)),
    "tar": ("archive.not_a_zip", lambda z: tar()),
    "7z": ("archive.not_a_zip", lambda z: b"7z\xbc\xaf\x27\x1c" + bytes(99)),
    "rar": ("archive.not_a_zip", lambda z: b"Rar!\x1a\x07\x01\0" + bytes(99)),
    "a store's error": ("archive.not_a_zip", lambda z: b"<?xml version='1.0'?><Error/>"),
    "a web page": ("archive.not_a_zip", lambda z: b"<!DOCTYPE html><html></html>"),
    "json": ("archive.not_a_zip", lambda z: b'{"error": "denied"}' * 3),
    "cut in the middle": ("archive.truncated", lambda z: good(z)[:3000]),
    "cut in the last record": ("archive.truncated", lambda z: good(z)[:-5]),
    "cut before the directory": ("archive.truncated", lambda z: nested(z)[:-200]),
    "cut right after an inner zip": (
        "archive.prefix",
        lambda z: nested(z)[: nested(z).rindex(b"PK\3\4")],
    ),
    "cut inside of its comment": (
        "archive.truncated",
        lambda z: with_zip(comment=b"a comment")(z)[:-3],
    ),
    "no files": ("archive.empty", lambda z: z.Zip([]).bytes()),
    "one part of many": ("archive.multi_disk", with_zip(end={"disk": 1, "directory_disk": 1})),
    "the first part of many": ("archive.multi_disk", lambda z: b"PK\7\x08" + good(z)[:200]),
    "entries on other disks": ("archive.multi_disk", with_zip(end={"here": 1})),
    "an entry on another disk": ("archive.multi_disk", with_file(central={"disk": 3})),
    "a program in front": ("archive.prefix", lambda z: b"MZ" + bytes(500) + good(z)),
    "two zips in one": ("archive.prefix", lambda z: z.Zip([z.File()]).bytes() + good(z)),
    "a prefix that the offsets count": (
        "archive.prefix",
        lambda z: z.Zip([z.File("b", before=b"#!/bin/sh\n"), *z.good_files()]).bytes(),
    ),
    "a few bytes behind": ("archive.trailing", lambda z: good(z) + b"junk"),
    "many bytes behind": ("archive.trailing", lambda z: good(z) + bytes(40_000)),
    "one zip twice": ("archive.two_ends", lambda z: good(z) + good(z)),
    "an empty zip as comment": (
        "archive.prefix",
        lambda z: z.Zip(z.good_files(), comment=z.Zip([]).bytes()).bytes(),
    ),
    "an end of nothing in the comment": (
        "archive.two_ends",
        with_zip(comment=b"..PK\5\6" + bytes(30)),
    ),
}

DIRECTORY = {
    "zip64 locator missing": ("archive.zip64", with_zip(end={"offset": 0xFFFFFFFF})),
    "zip64 disagrees on the count": ("archive.zip64", with_zip(zip64={"entries": 1, "here": 1})),
    "zip64 record elsewhere": ("archive.zip64", with_zip(zip64={"record": 90})),
    "zip64 on another disk": ("archive.multi_disk", with_zip(zip64={"disks": 2})),
    "zip64 says fewer bytes": ("archive.zip64", with_zip(zip64={"size": 46})),
    "zip64 sizes of an entry missing": (
        "archive.zip64",
        with_file("big", central={"size": 0xFFFFFFFF}),
    ),
    "zip64 sizes of an entry cut": (
        "archive.zip64",
        with_file("big", central={"offset": 0xFFFFFFFF}, central_extra=b"\1\0\4\0abcd"),
    ),
    "directory beyond the end": ("archive.directory", with_zip(end={"offset": 9_000_000})),
    "directory too long": ("archive.directory", with_zip(end={"size": 9_000_000})),
    "directory that is none": (
        "archive.directory",
        lambda z: good(z).replace(b"PK\1\2", b"PK\1\3"),
    ),
    "one entry less than said": ("archive.directory", with_zip(end={"here": 3, "entries": 3})),
    "one entry more than said": ("archive.directory", with_zip(end={"here": 1, "entries": 1})),
    "a name that leaves the directory": (
        "archive.directory",
        lambda z: good(z)[:-22].replace(b"\x0a\0\0\0\0\0", b"\xff\xff\0\0\0\0") + good(z)[-22:],
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
    "two entries share one body": ("archive.overlap", with_file("b", central={"offset": 0})),
    "an entry over the next": (
        "archive.overlap",
        lambda z: z.Zip(
            [z.File("a", b"abc", central={"compressed": 60, "size": 60}), *z.good_files()]
        ).bytes(),
    ),
    "an entry over the directory": (
        "archive.overlap",
        with_file("b", central={"compressed": 600, "size": 600}),
    ),
    "an entry that is not there": ("archive.local_missing", with_file(central={"offset": 3})),
    "an entry behind everything": (
        "archive.local_missing",
        with_file(central={"offset": 0x7FFFFFFF}),
    ),
    "a local header that ends nowhere": (
        "archive.local_missing",
        lambda z: good(z).replace(b"\x0a\0\0\0hello.yaml", b"\xff\xff\0\0hello.yaml", 1),
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
    "one path in two ways": ("archive.collision", with_files("a/b", "a//b")),
    "dot": ("archive.collision", with_files("./index.zip")),
    "Unicode composed and not": (
        "archive.collision",
        lambda z: z.Zip(
            [
                *z.good_files(),
                z.File("caf\u00e9", flags=0x800),
                z.File("cafe\u0301", flags=0x800),
            ]
        ).bytes(),
    ),
    "file as folder": ("archive.file_and_folder", with_files("a", "a/b")),
    "file as folder, deep": ("archive.file_and_folder", with_files("a/b/c/d", "a/b")),
    "file and folder of one name": (
        "archive.file_and_folder",
        lambda z: z.Zip([*z.good_files(), z.File("a"), z.File("a/", b"")]).bytes(),
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
    "unheard of": ("archive.method", with_file(method=4711)),
    "stored in fewer bytes": ("archive.sizes", with_file(central={"size": 9000})),
    "more than deflate can": (
        "archive.sizes",
        with_file(method=8, central={"size": 900_000}, local={"size": 900_000}),
    ),
    "out of nothing": ("archive.sizes", with_file(method=8, packed=b"", content=b"x")),
    "bomb by ratio": ("archive.bomb_ratio", with_file("zeros", bytes(20 * MIB), method=8)),
    "bomb by sum": (
        "archive.bomb_sum",
        with_file(method=8, packed=bytes(8 * MIB), central={"size": 1501 * MIB}),
    ),
    "another name inside": ("archive.headers_differ", with_file("a", local={"name": b"b"})),
    "another method inside": (
        "archive.headers_differ",
        with_file(method=8, local={"method": 0}),
    ),
    "another CRC inside": ("archive.headers_differ", with_file(local={"crc": 1})),
    "another size inside": ("archive.headers_differ", with_file(local={"size": 1})),
    "another encoding inside": ("archive.headers_differ", with_file(local={"flags": 0x800})),
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
    "no closing record": ("archive.descriptor", with_file(flags=8, descriptor=b"")),
    "a closing record too long": ("archive.descriptor", with_file(flags=8, descriptor=bytes(17))),
    "the YAML damaged": (
        "archive.crc",
        lambda z: good(z).replace(b"Timeout: 3", b"Timeout: 4"),
    ),
    "the YAML not inflatable": (
        "archive.inflate",
        lambda z: z.Zip(
            [z.good_files()[0], z.File("a.yaml", z.YAML, 8, packed=b"\xff" * 99)]
        ).bytes(),
    ),
    "the YAML larger than it says": (
        "archive.size_differs",
        lambda z: z.Zip(
            [
                z.good_files()[0],
                z.File("a.yaml", z.YAML, 8, central={"size": 50}, local={"size": 50}),
            ]
        ).bytes(),
    ),
    "the YAML followed by more": (
        "archive.inflate",
        lambda z: z.Zip(
            [z.good_files()[0], z.File("a.yaml", z.YAML, 8, packed=z.deflated(z.YAML) + b"more")]
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


@pytest.mark.parametrize(("code", "made"), HOSTILE.values(), ids=HOSTILE)
def test_it_is_refused_with_its_own_finding(zips, code, made):
    store = zips.StoredObject(made(zips))
    report = inspect(store.size, store.read)
    assert code in [finding.code for finding in report.errors]
    for finding in report.findings:
        assert finding.message.en
        assert finding.message.zh
        assert finding.message.en != finding.message.zh
        assert finding.hint.en
        assert finding.hint.zh
        assert "{" not in finding.message.en.replace("\\u{", "")


def test_there_are_many_of_them():
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
    "closing record": (set(), with_file("b", flags=8)),
    "closing record without signature": (set(), with_file("b", flags=8, descriptor="plain")),
    "closing record of 64 bits": (set(), with_file("b", flags=8, descriptor="wide")),
    "an empty file, deflated": (set(), with_file("b", b"", method=8)),
    "a folder": (set(), with_file("b/", b"", mode=0o40755)),
    "a folder, deflated to two bytes": (set(), with_file("b/", b"", method=8)),
    "three bytes of padding": (set(), with_file("b", central_extra=b"\0\0\0")),
    "a mode of no kind, as Maven writes": (set(), with_file("b/", b"", mode=0o150755)),
    "no Unix mode": (set(), with_file("b", mode=0)),
    "Chinese in UTF-8": (set(), with_file("函数.txt", flags=0x800)),
    "a second name that is the same": (
        set(),
        with_file("b", central_extra=unicode_name(b"b", b"b")),
    ),
    "a stale second name": (set(), with_file("b", central_extra=unicode_name(b"other", b"c"))),
    "a small file that repeats": (set(), with_file("b", bytes(MIB), method=8)),
    # Linux keeps both, and functions run there.
    "upper and lower case": ({"archive.case"}, with_files("Readme", "README")),
    # The name may look odd in the cloud; no byte of the content is touched.
    "Chinese without saying so": ({"archive.name_unmarked"}, with_file("函数".encode("gbk"))),
}


@pytest.mark.parametrize(("warnings", "made"), ACCEPTED.values(), ids=ACCEPTED)
def test_it_is_accepted_and_passes_whole(zips, warnings, made):
    store = zips.StoredObject(made(zips))
    archive = store.archive()
    assert archive.report.errors == ()
    assert {finding.code for finding in archive.report.findings} == warnings
    assert b"".join(archive.chunks()) == store.content
