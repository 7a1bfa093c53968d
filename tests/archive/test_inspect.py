"""Inspection: few reads, all findings, printable texts."""

from __future__ import annotations

import io
import time
import zipfile

import pytest

from relay.archive.findings import MAX_PER_CODE, printable
from relay.archive.inspect import ArchiveLimits, inspect
from relay.errors import TemporaryFailure
from relay.testing.sandbox.exports import make_export
from tests.archive.conftest import File, StoredObject, Zip, good_files

MIB = 1024 * 1024
BIG = 300 * MIB


class Sparse:
    """An object of zeros with some bytes set; records the reads."""

    def __init__(self, size, **contents):
        self.size = size
        self.contents = {int(at[1:]): content for at, content in contents.items()}
        self.reads = []

    def read(self, start, end):
        assert 0 <= start < end <= self.size
        self.reads.append(end - start)
        piece = bytearray(end - start)
        for at, content in self.contents.items():
            for index in range(max(start, at), min(end, at + len(content))):
                piece[index - start] = content[index - at]
        return bytes(piece)


def test_an_export_needs_two_reads():
    stored = StoredObject(make_export("hello", code_size=3_000_000))
    report = inspect(stored.size, stored.read)
    assert report.findings == ()
    assert report.export.function == "hello"
    assert report.export.code.name == "index.zip"
    assert len(stored.reads) == 2
    assert stored.bytes_read <= 32 * 1024


def test_a_small_export_needs_a_single_read():
    stored = StoredObject(make_export("hello"))
    assert inspect(stored.size, stored.read).findings == ()
    assert len(stored.reads) == 1


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


@pytest.mark.parametrize("stored", BAD.values(), ids=BAD)
def test_refusing_a_bad_archive_of_300_mb_reads_less_than_1_mib(stored):
    report = inspect(stored.size, stored.read)
    assert report.errors
    assert sum(stored.reads) <= MIB
    assert len(stored.reads) <= 4


def test_refusing_a_300_mb_archive_with_thousands_of_bad_entries_is_quick():
    files = [File(f"../{number}", b"", flags=1) for number in range(3000)]
    tail = Zip(files).bytes()
    stored = StoredObject(tail)
    began = time.monotonic()
    report = inspect(stored.size, stored.read)
    assert time.monotonic() - began < 2
    assert stored.bytes_read <= MIB
    assert len(stored.reads) <= 12
    encrypted = [finding for finding in report.errors if finding.code == "archive.encrypted"]
    assert len(encrypted) == MAX_PER_CODE + 1
    assert "2990 more" in encrypted[-1].message.en


def test_all_findings_are_reported():
    files = [
        File("../a"),
        File("b", flags=1),
        File("c", method=12),
        File("d", mode=0o120777),
    ]
    stored = StoredObject(Zip(files).bytes() + b"junk")
    codes = {finding.code for finding in inspect(stored.size, stored.read).errors}
    assert codes == {
        "archive.name_parent",
        "archive.encrypted",
        "archive.method",
        "archive.link",
        "archive.trailing",
        "export.no_yaml",
    }


def test_a_real_zip_of_many_files_needs_few_reads():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20_000):
            archive.writestr(f"folder/{number}.txt", b"x")
    stored = StoredObject(file.getvalue())
    report = inspect(stored.size, stored.read)
    assert [finding.code for finding in report.findings] == ["export.no_yaml"]
    assert len(report.entries) == 20_000
    assert len(stored.reads) <= 4


def test_the_limits_are_parameters():
    stored = StoredObject(make_export("hello"))
    tight = ArchiveLimits(size=100, entries=1, unpacked=10, yaml=10)
    codes = [finding.code for finding in inspect(stored.size, stored.read, limits=tight).errors]
    assert codes == ["archive.too_many"]
    tight = ArchiveLimits(unpacked=10, yaml=10, usual_size=100)
    findings = inspect(stored.size, stored.read, limits=tight).findings
    assert [(finding.code, finding.level) for finding in findings] == [
        ("archive.large", "warning"),
        ("archive.bomb_sum", "error"),
        ("export.yaml_size", "error"),
    ]


def test_over_50_mib_and_over_300_mib_are_warnings():
    """Targets have limits of their own: see max_size."""
    for size, code in ((51 * MIB, "archive.large"), (301 * MIB, "archive.too_large")):
        finding = inspect(size, Sparse(size).read).findings[0]
        assert (finding.code, finding.level) == (code, "warning")
        assert f"{size:,}" in finding.message.en


def test_a_storage_that_returns_too_few_bytes_is_a_temporary_failure():
    stored = StoredObject(make_export("hello")[:-100], size=len(make_export("hello")))
    with pytest.raises(TemporaryFailure):
        inspect(stored.size, stored.read)


def test_only_errors_about_the_export_can_be_relaxed_to_warnings():
    stored = StoredObject(Zip([File("../a")]).bytes())
    report = inspect(stored.size, stored.read)
    assert {finding.code for finding in report.errors} == {"archive.name_parent", "export.no_yaml"}
    relaxed = report.relaxed()
    assert [finding.code for finding in relaxed.errors] == ["archive.name_parent"]
    assert len(relaxed.findings) == len(report.findings)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plain name.txt", "plain name.txt"),
        ("函数.txt", "函数.txt"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\u001b[2J"),
        ("gpj.\u202eyp", "gpj.\\u202eyp"),
        ("a\u00a0b", "a\\u00a0b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_hidden_characters_in_a_name_are_made_visible(name, safe):
    assert printable(name) == safe


def test_a_long_name_is_shortened_in_messages():
    stored = StoredObject(Zip([*good_files(), File("../" + "a" * 60_000)]).bytes())
    for finding in inspect(stored.size, stored.read).errors:
        assert len(finding.message.en) < 300
        assert len(finding.where) <= 120
