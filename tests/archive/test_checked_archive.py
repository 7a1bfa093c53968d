"""The one pass: what goes out is what was looked at, whole and checked, or never complete."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import zipfile
from datetime import timedelta

import pytest

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inflate import CHUNK
from relay.archive.inspect import inspect
from relay.errors import Gone, PermanentFailure, RelayError, Superseded, TemporaryFailure
from relay.testing.sandbox.exports import make_export

EXPORT = make_export("hello", code_size=700_000)


def drained(chunks):
    """What came out before the error, and the error."""
    out = bytearray()
    try:
        for chunk in chunks:
            out += chunk
    except RelayError as error:
        return bytes(out), error
    return bytes(out), None


def code_of(export):
    with zipfile.ZipFile(io.BytesIO(export)) as opened:
        return opened.read("index.zip")


def test_the_bytes_go_out_as_they_are_in_chunks_that_fit_base64(zips):
    archive = zips.StoredObject(EXPORT).archive()
    chunks = list(archive.chunks())
    assert b"".join(chunks) == EXPORT
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK}
    assert CHUNK % 3 == 0


def test_a_pass_knows_the_digests_and_needs_no_second_one(zips):
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    list(archive.chunks())
    assert archive.sha256 == hashlib.sha256(EXPORT).hexdigest()
    assert archive.code_digest() == hashlib.sha512(code_of(EXPORT)).hexdigest()
    assert archive.code_size == len(code_of(EXPORT))
    assert store.opened == [0]


def test_a_big_code_file_is_digested_beside_and_nothing_is_left_running(zips):
    export = make_export("hello", code_size=5_000_000)
    archive = zips.StoredObject(export).archive()
    running = threading.active_count()
    for way in (archive.chunks, archive.code):
        chunks = way()
        for _ in range(3):
            next(chunks)
        assert threading.active_count() == running + 1
        for _ in chunks:
            pass
        assert threading.active_count() == running
        assert archive.code_digest() == hashlib.sha512(code_of(export)).hexdigest()


@pytest.mark.parametrize("way", ["chunks", "code"])
def test_a_pass_that_ends_early_leaves_no_thread(zips, way):
    store = zips.StoredObject(make_export("hello", code_size=5_000_000))
    archive = store.archive()
    running = threading.active_count()
    chunks = getattr(archive, way)()
    next(chunks), next(chunks)
    assert threading.active_count() == running + 1
    chunks.close()
    assert threading.active_count() == running
    store.content = flipped(store.content, 4_000_000)
    _, error = drained(getattr(archive, way)())
    assert isinstance(error, PermanentFailure)
    assert threading.active_count() == running


def test_the_codes_digest_is_read_when_no_pass_came_before(zips):
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    assert archive.code_digest() == hashlib.sha512(code_of(EXPORT)).hexdigest()
    assert archive.code_digest()
    assert len(store.opened) == 1


def test_a_code_file_bigger_than_any_real_one_is_digested_only_when_asked(zips, monkeypatch):
    monkeypatch.setattr(CheckedArchive, "digest_up_to", len(code_of(EXPORT)) - 1)
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    list(archive.chunks())
    assert archive.known_digest is None
    assert archive.sha256 is None
    assert len(store.opened) == 1
    assert archive.code_digest() == hashlib.sha512(code_of(EXPORT)).hexdigest()
    assert archive.known_digest == archive.code_digest()
    assert len(store.opened) == 2


@pytest.mark.parametrize("method", [0, 8])
def test_the_code_comes_out_unpacked(zips, method):
    code = bytes(range(256)) * 4000
    files = [zips.File("index.zip", code, method), zips.File("hello.yaml", zips.YAML)]
    archive = zips.StoredObject(zips.Zip(files).bytes()).archive()
    assert b"".join(archive.code()) == code
    assert archive.code_digest() == hashlib.sha512(code).hexdigest()


def test_an_archive_without_code_has_no_digest_and_nothing_to_update_with(zips):
    store = zips.StoredObject(zips.Zip([zips.File("a.txt")]).bytes())
    report = inspect(store.size, store.read).relaxed()
    archive = CheckedArchive("a.zip", store.size, report, store.open)
    assert archive.code_digest() == ""
    assert archive.code_size is None
    assert b"".join(archive.chunks()) == store.content
    with pytest.raises(PermanentFailure) as refused:
        list(archive.code())
    assert refused.value.code == "export.no_code"


def test_a_refused_archive_does_not_pass(zips):
    archive = zips.StoredObject(EXPORT + b"junk").archive()
    for way in (archive.chunks, archive.code):
        out, error = drained(way())
        assert out == b""
        assert error.code == "archive.trailing"


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("where", [0.0, 0.5, 0.999])
def test_a_flipped_byte_of_the_code_never_lets_the_last_chunk_out(zips, method, where):
    code = hashlib.shake_128(b"").digest(900_000)
    files = [zips.File("index.zip", code, method), zips.File("hello.yaml", zips.YAML)]
    store = zips.StoredObject(zips.Zip(files).bytes())
    archive = store.archive()
    at = archive.report.export.code.data + int(where * (archive.report.export.code.compressed - 1))
    store.content = flipped(store.content, at)
    for way in (archive.chunks, archive.code):
        out, error = drained(way())
        assert isinstance(error, PermanentFailure)
        assert error.code in ("archive.crc", "archive.inflate", "archive.size_differs")
        assert '"index.zip"' in error.message.en
        assert len(out) < archive.code_size


def test_any_flipped_byte_of_any_entry_keeps_the_end_back(zips):
    """Every byte of a small archive: headers, names, data, directory, end."""
    content = zips.Zip([zips.File("x", b"some", flags=8), *zips.good_files(method=8)]).bytes()
    store = zips.StoredObject(content)
    archive = store.archive()
    assert archive.report.errors == ()
    # The times and the "needed version" of a local header mean nothing to anybody.
    meaningless = {
        entry.offset + at for entry in archive.report.entries for at in (4, 5, 10, 11, 12, 13)
    }
    for at in range(len(content)):
        store.content = flipped(content, at)
        out, error = drained(archive.chunks())
        if at in meaningless:
            assert error is None
        elif error is None:
            # Bits of the flags that tell how hard the packer tried, and nothing else.
            assert at - 6 in {entry.offset for entry in archive.report.entries} or (
                at - 7 in {entry.offset for entry in archive.report.entries}
            )
        else:
            assert isinstance(error, (PermanentFailure, TemporaryFailure))
            assert out == b""


def test_a_bomb_found_on_the_way_is_stopped_where_it_exceeds_its_word(zips):
    bomb = zips.deflated(bytes(50_000_000))
    sizes = {"size": 900_000}
    files = [
        zips.File("index.zip", b"", 8, packed=bomb, local=sizes, central=sizes),
        zips.File("hello.yaml", zips.YAML),
    ]
    archive = zips.StoredObject(zips.Zip(files).bytes()).archive()
    assert archive.report.errors == ()
    out, error = drained(archive.chunks())
    assert error.code == "archive.size_differs"
    assert out == b""


def test_headers_that_were_not_looked_at_are_checked_on_the_way(zips):
    files = [zips.File(f"f{number}") for number in range(200)]
    files[150].local = {"name": b"evil"}
    store = zips.StoredObject(zips.Zip([*zips.good_files(), *files]).bytes())
    archive = store.archive()
    assert archive.report.errors == ()
    out, error = drained(archive.chunks())
    assert error.code == "archive.headers_differ"
    assert '"f150"' in error.message.en
    assert out == b""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"before": b"hidden"}, "archive.gap"),
        ({"flags": 8, "descriptor": b""}, "archive.descriptor"),
        ({"flags": 8, "descriptor": b"PK\7\x08" + bytes(12)}, "archive.descriptor"),
        ({"flags": 8, "descriptor": bytes(20)}, "archive.descriptor"),
        ({"local_extra": b"\1\0\4\0abcd", "local": {"name": b"x" * 9}}, "archive.headers_differ"),
        ({"content": b"new", "central": {"crc": 5}, "local": {"crc": 5}}, "archive.crc"),
    ],
)
def test_what_lies_between_is_checked_on_the_way(zips, change, code):
    files = [zips.File(f"f{number}") for number in range(200)]
    files[150] = zips.File("f150", **change)
    archive = zips.StoredObject(zips.Zip([*zips.good_files(), *files]).bytes()).archive()
    assert archive.report.errors == ()
    out, error = drained(archive.chunks())
    assert error.code == code
    assert out == b""


def test_a_broken_stream_goes_on_at_its_byte(zips):
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    store.cuts = [1, 100, CHUNK, 500_001, len(EXPORT) - 1]
    assert b"".join(archive.chunks()) == EXPORT
    assert store.opened == [0, 1, 100, CHUNK, 500_001, len(EXPORT) - 1]
    assert store.still_open == 0


def test_a_stream_that_ends_early_without_saying_so_goes_on_too(zips):
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    store.content = EXPORT[:300_000]

    def open_(start, end):
        if start == 300_000:
            store.content = EXPORT
        return store.open(start, end)

    again = CheckedArchive("hello.zip", store.size, archive.report, open_)
    assert b"".join(again.chunks()) == EXPORT
    assert store.opened == [0, 300_000]


def test_no_progress_ends_in_a_temporary_failure(zips):
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    store.content = EXPORT[:300_000]
    out, error = drained(archive.chunks())
    assert isinstance(error, TemporaryFailure)
    assert error.code == "object.cut"
    assert "300000 of" in error.message.en
    assert 3 <= len(store.opened) <= 6
    assert len(out) <= 300_000
    assert store.still_open == 0


def test_a_store_that_drips_is_given_up(zips):
    """One byte for each connection is no progress."""
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    store.cuts = list(range(1, 2000))
    _, error = drained(archive.chunks())
    assert isinstance(error, TemporaryFailure)
    assert len(store.opened) < 10


def test_a_store_that_asks_to_wait_is_not_pressed(zips):
    asked = TemporaryFailure("object.busy", "slow down", retry_after=timedelta(seconds=7))
    opened = []

    def open_(start, end):
        opened.append(start)
        raise asked

    archive = zips.StoredObject(EXPORT).archive(open=open_)
    _, error = drained(archive.chunks())
    assert error is asked
    assert opened == [0]


@pytest.mark.parametrize("error", [Gone("object.gone", "gone"), Superseded("object.new", "new")])
def test_gone_and_superseded_pass_through(zips, error):
    def open_(start, end):
        raise error

    archive = zips.StoredObject(EXPORT).archive(open=open_)
    assert drained(archive.chunks()) == (b"", error)


def test_an_object_of_another_size_is_superseded(zips):
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    store.size += 1
    out, error = drained(archive.chunks())
    assert isinstance(error, Superseded)
    assert out == b""
    assert store.still_open == 0


def test_more_than_announced_is_not_trusted(zips):
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    store.content += b"more"
    out, error = drained(archive.chunks())
    assert error.code == "object.longer"
    assert len(out) < len(EXPORT)


def test_an_object_replaced_by_another_of_the_same_size_is_looked_at_again(zips):
    """Same files, but the directory says something else now (here: its times)."""
    store = zips.StoredObject(EXPORT)
    archive = store.archive()
    store.content = flipped(EXPORT, archive.report.directory + 12)
    out, error = drained(archive.chunks())
    assert isinstance(error, TemporaryFailure)
    assert error.code == "object.changed"
    assert len(out) < len(EXPORT)


def test_a_pass_that_is_given_up_closes_its_stream(zips):
    store = zips.StoredObject(EXPORT)
    for chunks in (store.archive().chunks(), store.archive().code()):
        next(chunks)
        assert store.still_open == 1
        chunks.close()
        assert store.still_open == 0


def flipped(content, at):
    return content[:at] + struct.pack("B", content[at] ^ 1) + content[at + 1 :]
