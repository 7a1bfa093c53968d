"""CheckedArchive: a complete stream is the inspected, verified archive."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import zipfile
from datetime import timedelta

import pytest

from relay.archive.checked_archive import CheckedArchive
from relay.archive.content import CHUNK
from relay.archive.inspect import inspect
from relay.errors import Gone, PermanentFailure, RelayError, Superseded, TemporaryFailure
from relay.testing.sandbox.exports import make_export
from tests.archive.conftest import YAML, File, StoredObject, Zip, deflate, good_files

EXPORT = make_export("hello", code_size=700_000)


def drain(chunks):
    """Return the bytes before the error, and the error."""
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


def test_the_bytes_are_unchanged_in_chunks_that_fit_base64():
    archive = StoredObject(EXPORT).archive()
    chunks = list(archive.chunks())
    assert b"".join(chunks) == EXPORT
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK}
    assert CHUNK % 3 == 0


def test_a_single_pass_computes_the_digests():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    list(archive.chunks())
    assert archive.sha256 == hashlib.sha256(EXPORT).hexdigest()
    assert archive.code_digest() == hashlib.sha512(code_of(EXPORT)).hexdigest()
    assert archive.code_size == len(code_of(EXPORT))
    assert stored.opened == [0]


def test_a_large_code_file_is_digested_in_a_thread_that_ends():
    export = make_export("hello", code_size=5_000_000)
    archive = StoredObject(export).archive()
    running = threading.active_count()
    for stream in (archive.chunks, archive.code):
        chunks = stream()
        for _ in range(3):
            next(chunks)
        assert threading.active_count() == running + 1
        for _ in chunks:
            pass
        assert threading.active_count() == running
        assert archive.code_digest() == hashlib.sha512(code_of(export)).hexdigest()


@pytest.mark.parametrize("method", ["chunks", "code"])
def test_a_pass_that_ends_early_leaves_no_thread(method):
    stored = StoredObject(make_export("hello", code_size=5_000_000))
    archive = stored.archive()
    running = threading.active_count()
    chunks = getattr(archive, method)()
    next(chunks), next(chunks)
    assert threading.active_count() == running + 1
    chunks.close()
    assert threading.active_count() == running
    stored.content = flipped(stored.content, 4_000_000)
    _, error = drain(getattr(archive, method)())
    assert isinstance(error, PermanentFailure)
    assert threading.active_count() == running


def test_without_an_earlier_pass_the_code_is_read_for_the_digest():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    assert archive.code_digest() == hashlib.sha512(code_of(EXPORT)).hexdigest()
    assert archive.code_digest()
    assert len(stored.opened) == 1


def test_of_an_archive_over_the_limit_only_the_code_is_digested(monkeypatch):
    monkeypatch.setattr(CheckedArchive, "digest_up_to", len(EXPORT) - 1)
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    list(archive.chunks())
    assert archive.sha256 is None
    assert archive.code_digest() == hashlib.sha512(code_of(EXPORT)).hexdigest()
    assert len(stored.opened) == 1


@pytest.mark.parametrize("method", [0, 8])
def test_the_code_is_unpacked(method):
    code = bytes(range(256)) * 4000
    files = [File("index.zip", code, method), File("hello.yaml", YAML)]
    archive = StoredObject(Zip(files).bytes()).archive()
    assert b"".join(archive.code()) == code
    assert archive.code_digest() == hashlib.sha512(code).hexdigest()


def test_an_archive_without_code_has_no_digest_and_no_code_stream():
    stored = StoredObject(Zip([File("a.txt")]).bytes())
    report = inspect(stored.size, stored.read).relaxed()
    archive = CheckedArchive(stored.size, report, stored.open)
    assert archive.code_digest() == ""
    assert archive.code_size is None
    assert b"".join(archive.chunks()) == stored.content
    with pytest.raises(PermanentFailure) as refused:
        list(archive.code())
    assert refused.value.code == "export.no_code"


def test_an_archive_with_errors_is_not_streamed():
    archive = StoredObject(EXPORT + b"junk").archive()
    for stream in (archive.chunks, archive.code):
        out, error = drain(stream())
        assert out == b""
        assert error.code == "archive.trailing"


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("position", [0.0, 0.5, 0.999])
def test_with_a_flipped_byte_in_the_code_the_last_chunk_is_withheld(method, position):
    code = hashlib.shake_128(b"").digest(900_000)
    files = [File("index.zip", code, method), File("hello.yaml", YAML)]
    stored = StoredObject(Zip(files).bytes())
    archive = stored.archive()
    at = archive.report.export.code.data + int(
        position * (archive.report.export.code.compressed - 1)
    )
    stored.content = flipped(stored.content, at)
    for stream in (archive.chunks, archive.code):
        out, error = drain(stream())
        assert isinstance(error, PermanentFailure)
        assert error.code in ("archive.crc", "archive.inflate", "archive.size_differs")
        assert '"index.zip"' in error.message.en
        assert len(out) < archive.code_size


def test_with_any_flipped_byte_the_end_is_withheld():
    """Flip every byte of a small archive: headers, names, data, directory, end record."""
    content = Zip([File("x", b"some", flags=8), *good_files(method=8)]).bytes()
    stored = StoredObject(content)
    archive = stored.archive()
    assert archive.report.errors == ()
    # Readers ignore the times and the required version in a local header.
    ignored = {
        entry.offset + at for entry in archive.report.entries for at in (4, 5, 10, 11, 12, 13)
    }
    for at in range(len(content)):
        stored.content = flipped(content, at)
        out, error = drain(archive.chunks())
        if at in ignored:
            assert error is None
        elif error is None:
            # Flag bits for the compression level have no effect on reading.
            assert at - 6 in {entry.offset for entry in archive.report.entries} or (
                at - 7 in {entry.offset for entry in archive.report.entries}
            )
        else:
            assert isinstance(error, (PermanentFailure, TemporaryFailure))
            assert out == b""


def test_a_bomb_is_stopped_where_it_exceeds_the_declared_size():
    bomb = deflate(bytes(50_000_000))
    sizes = {"size": 900_000}
    files = [
        File("index.zip", b"", 8, packed=bomb, local=sizes, central=sizes),
        File("hello.yaml", YAML),
    ]
    archive = StoredObject(Zip(files).bytes()).archive()
    assert archive.report.errors == ()
    out, error = drain(archive.chunks())
    assert error.code == "archive.size_differs"
    assert out == b""


def test_headers_that_were_not_inspected_are_verified_while_streaming():
    files = [File(f"f{number}") for number in range(200)]
    files[150].local = {"name": b"evil"}
    stored = StoredObject(Zip([*good_files(), *files]).bytes())
    archive = stored.archive()
    assert archive.report.errors == ()
    out, error = drain(archive.chunks())
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
def test_data_between_the_entries_is_verified_while_streaming(change, code):
    files = [File(f"f{number}") for number in range(200)]
    files[150] = File("f150", **change)
    archive = StoredObject(Zip([*good_files(), *files]).bytes()).archive()
    assert archive.report.errors == ()
    out, error = drain(archive.chunks())
    assert error.code == code
    assert out == b""


def test_a_disconnected_stream_resumes_at_the_same_byte():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    stored.cuts = [1, 100, CHUNK, 500_001, len(EXPORT) - 1]
    assert b"".join(archive.chunks()) == EXPORT
    assert stored.opened == [0, 1, 100, CHUNK, 500_001, len(EXPORT) - 1]
    assert stored.still_open == 0


def test_a_stream_that_ends_early_without_an_error_resumes():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    stored.content = EXPORT[:300_000]

    def open_(start, end):
        if start == 300_000:
            stored.content = EXPORT
        return stored.open(start, end)

    resumed = CheckedArchive(stored.size, archive.report, open_)
    assert b"".join(resumed.chunks()) == EXPORT
    assert stored.opened == [0, 300_000]


def test_a_stream_without_progress_ends_in_a_temporary_failure():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    stored.content = EXPORT[:300_000]
    out, error = drain(archive.chunks())
    assert isinstance(error, TemporaryFailure)
    assert error.code == "object.cut"
    assert "300000 of" in error.message.en
    assert 3 <= len(stored.opened) <= 6
    assert len(out) <= 300_000
    assert stored.still_open == 0


def test_a_storage_that_sends_single_bytes_per_connection_is_given_up():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    stored.cuts = list(range(1, 2000))
    _, error = drain(archive.chunks())
    assert isinstance(error, TemporaryFailure)
    assert len(stored.opened) < 10


def test_a_storage_that_asks_to_wait_is_not_retried_at_once():
    busy = TemporaryFailure("object.busy", "slow down", retry_after=timedelta(seconds=7))
    opened = []

    def open_(start, end):
        opened.append(start)
        raise busy

    archive = StoredObject(EXPORT).archive(open=open_)
    _, error = drain(archive.chunks())
    assert error is busy
    assert opened == [0]


@pytest.mark.parametrize("error", [Gone("object.gone", "gone"), Superseded("object.new", "new")])
def test_gone_and_superseded_propagate(error):
    def open_(start, end):
        raise error

    archive = StoredObject(EXPORT).archive(open=open_)
    assert drain(archive.chunks()) == (b"", error)


def test_an_object_of_another_size_is_superseded():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    stored.size += 1
    out, error = drain(archive.chunks())
    assert isinstance(error, Superseded)
    assert out == b""
    assert stored.still_open == 0


def test_more_bytes_than_announced_are_an_error():
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    stored.content += b"more"
    out, error = drain(archive.chunks())
    assert error.code == "object.longer"
    assert len(out) < len(EXPORT)


def test_an_object_replaced_by_another_of_the_same_size_is_inspected_again():
    """The files are equal, but the times in the directory differ."""
    stored = StoredObject(EXPORT)
    archive = stored.archive()
    stored.content = flipped(EXPORT, archive.report.directory + 12)
    out, error = drain(archive.chunks())
    assert isinstance(error, TemporaryFailure)
    assert error.code == "object.changed"
    assert len(out) < len(EXPORT)


def test_a_pass_that_is_given_up_closes_its_stream():
    stored = StoredObject(EXPORT)
    for chunks in (stored.archive().chunks(), stored.archive().code()):
        next(chunks)
        assert stored.still_open == 1
        chunks.close()
        assert stored.still_open == 0


def flipped(content, at):
    return content[:at] + struct.pack("B", content[at] ^ 1) + content[at + 1 :]
