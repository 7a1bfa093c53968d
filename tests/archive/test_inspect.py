"""Looking before loading: few reads, all findings, fit to be shown."""

from __future__ import annotations

import io
import time
import zipfile

import pytest

from relay.archive.findings import MOST_OF_A_KIND, shown
from relay.archive.inspect import ArchiveLimits, inspect
from relay.errors import TemporaryFailure
from relay.testing.sandbox.exports import make_export

MIB = 1024 * 1024
BIG = 300 * MIB


class Sparse:
    """An object of any size: a few written places, zeros between; counts what is read."""

    def __init__(self, size, **places):
        self.size = size
        self.places = {int(at[1:]): content for at, content in places.items()}
        self.reads = []

    def read(self, start, end):
        assert 0 <= start < end <= self.size
        self.reads.append(end - start)
        piece = bytearray(end - start)
        for at, content in self.places.items():
            for index in range(max(start, at), min(end, at + len(content))):
                piece[index - start] = content[index - at]
        return bytes(piece)


def test_a_genuine_export_costs_two_reads(zips):
    store = zips.StoredObject(make_export("hello", code_size=3_000_000))
    report = inspect(store.size, store.read)
    assert report.findings == ()
    assert report.export.function == "hello"
    assert report.export.code.name == "index.zip"
    assert len(store.reads) == 2
    assert store.bytes_read <= 32 * 1024


def test_a_small_export_costs_one_read(zips):
    store = zips.StoredObject(make_export("hello"))
    assert inspect(store.size, store.read).findings == ()
    assert len(store.reads) == 1


def end_of(size, entries=1, directory=60):
    end = b"PK\5\6" + bytes(4) + entries.to_bytes(2, "little") * 2
    return end + directory.to_bytes(4, "little") + (size - 22 - directory).to_bytes(4, "little")


BAD = {
    "zeros": Sparse(BIG),
    "the end cut off": Sparse(BIG, _0=b"PK\3\4" + bytes(40)),
    "a directory of zeros": Sparse(BIG, **{f"_{BIG - 22}": end_of(BIG)}),
    "a directory of 7 MiB, nothing in it": Sparse(
        BIG, **{f"_{BIG - 22}": end_of(BIG, 60_000, 7 * MIB)}
    ),
    "far too large": Sparse(10_000 * MIB),
}


@pytest.mark.parametrize("store", BAD.values(), ids=BAD)
def test_refusing_a_bad_archive_of_300_mb_reads_less_than_1_mib(store):
    report = inspect(store.size, store.read)
    assert report.errors
    assert sum(store.reads) <= MIB
    assert len(store.reads) <= 4


def test_refusing_a_300_mb_archive_with_thousands_of_bad_entries_is_quick(zips):
    files = [zips.File(f"../{number}", b"", flags=1) for number in range(3000)]
    tail = zips.Zip(files).bytes()
    store = zips.StoredObject(tail)
    began = time.monotonic()
    report = inspect(store.size, store.read)
    assert time.monotonic() - began < 2
    assert store.bytes_read <= MIB
    assert len(store.reads) <= 12
    of_a_kind = [finding for finding in report.errors if finding.code == "archive.encrypted"]
    assert len(of_a_kind) == MOST_OF_A_KIND + 1
    assert "2990 more" in of_a_kind[-1].message.en


def test_all_findings_are_told_not_the_first(zips):
    files = [
        zips.File("../a"),
        zips.File("b", flags=1),
        zips.File("c", method=12),
        zips.File("d", mode=0o120777),
    ]
    store = zips.StoredObject(zips.Zip(files).bytes() + b"junk")
    codes = {finding.code for finding in inspect(store.size, store.read).errors}
    assert codes == {
        "archive.name_parent",
        "archive.encrypted",
        "archive.method",
        "archive.link",
        "archive.trailing",
        "export.no_yaml",
    }


def test_a_real_zip_of_many_files_needs_few_reads(zips):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for number in range(20_000):
            made.writestr(f"folder/{number}.txt", b"x")
    store = zips.StoredObject(file.getvalue())
    report = inspect(store.size, store.read)
    assert [finding.code for finding in report.findings] == ["export.no_yaml"]
    assert len(report.entries) == 20_000
    assert len(store.reads) <= 4


def test_limits_are_settings(zips):
    store = zips.StoredObject(make_export("hello"))
    tight = ArchiveLimits(size=100, entries=1, unpacked=10, yaml=10)
    codes = [finding.code for finding in inspect(store.size, store.read, limits=tight).errors]
    assert codes == ["archive.too_large", "archive.too_many"]
    tight = ArchiveLimits(unpacked=10, yaml=10, usual_size=100)
    findings = inspect(store.size, store.read, limits=tight).findings
    assert [(finding.code, finding.level) for finding in findings] == [
        ("archive.large", "warning"),
        ("archive.bomb_sum", "error"),
        ("export.yaml_size", "error"),
    ]


def test_an_export_over_50_mib_is_warned_of_and_one_over_300_refused(zips):
    for size, level in ((51 * MIB, "warning"), (301 * MIB, "error")):
        found = inspect(size, Sparse(size).read).findings[0]
        assert found.level == level
        assert f"{size:,}" in found.message.en


def test_a_store_that_gives_less_than_asked_for_is_no_verdict(zips):
    store = zips.StoredObject(make_export("hello")[:-100], size=len(make_export("hello")))
    with pytest.raises(TemporaryFailure):
        inspect(store.size, store.read)


def test_errors_of_shape_can_be_warnings_and_others_cannot(zips):
    store = zips.StoredObject(zips.Zip([zips.File("../a")]).bytes())
    report = inspect(store.size, store.read)
    assert {finding.code for finding in report.errors} == {"archive.name_parent", "export.no_yaml"}
    relaxed = report.relaxed()
    assert [finding.code for finding in relaxed.errors] == ["archive.name_parent"]
    assert len(relaxed.findings) == len(report.findings)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plain name.txt", "plain name.txt"),
        ("函数.txt", "函数.txt"),
        ("a\nb", "a\\u{a}b"),
        ("\x1b[2J", "\\u{1b}[2J"),
        ("gpj.\u202eyp", "gpj.\\u{202e}yp"),
        ("a\u00a0b", "a\\u{a0}b"),
        ("\ud800", "\\u{d800}"),
    ],
)
def test_a_foreign_name_is_shown_so_that_it_cannot_deceive(name, safe):
    assert shown(name) == safe


def test_a_long_name_is_cut_where_it_is_shown(zips):
    store = zips.StoredObject(
        zips.Zip([*zips.good_files(), zips.File("../" + "a" * 60_000)]).bytes()
    )
    for finding in inspect(store.size, store.read).errors:
        assert len(finding.message.en) < 300
        assert len(finding.where) <= 120
