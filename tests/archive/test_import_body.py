"""Bodies of known length that carry a file as base64."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from relay.errors import PermanentFailure
from relay.targets.functiongraph.body import Base64Body, CodeBody, ImportBody
from relay.testing.sandbox.exports import make_export

FIELDS = {"func_name": 'he"llo', "package": "默认", "file_name": "a\\b\n\u2028.zip"}


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 400_000, 400_001])
def test_an_import_says_its_exact_length_and_can_be_sent_again(zips, padding):
    export = make_export("hello", code_size=padding)
    body = ImportBody(FIELDS, zips.Store(export).archive(), lambda sent: None)
    for _ in range(2):
        sent = b"".join(body)
        assert len(sent) == len(body)
        read = json.loads(sent)
        assert base64.b64decode(read.pop("file_code"), validate=True) == export
        assert read == FIELDS


def test_progress_adds_up_to_the_archives_size(zips):
    export = make_export("hello", code_size=1_500_000)
    told = []
    body = ImportBody(FIELDS, zips.Store(export).archive(), told.append)
    for _ in body:
        pass
    assert sum(told) == len(export)
    assert len(told) > 2


def test_what_a_second_pass_sends_again_is_not_progress(zips):
    export = make_export("hello", code_size=1_500_000)
    told = []
    body = ImportBody(FIELDS, zips.Store(export).archive(), told.append)
    first = iter(body)
    for _ in range(4):
        next(first)
    assert 0 < sum(told) < len(export)
    for _ in body:
        pass
    assert sum(told) == len(export)


def test_new_code_travels_as_a_nested_field(zips):
    archive = zips.Store(make_export("hello", code_size=500_000)).archive()
    fields = {"code_type": "zip", "code_filename": "index.zip"}
    body = CodeBody(fields, archive, archive.code_size, lambda sent: None)
    sent = b"".join(body)
    assert len(sent) == len(body)
    read = json.loads(sent)
    code = base64.b64decode(read["func_code"]["file"], validate=True)
    assert hashlib.sha512(code).hexdigest() == archive.code_digest()
    assert list(read) == ["code_type", "code_filename", "func_code"]


@pytest.mark.parametrize("sizes", [[], [1], [1, 1, 1], [2, 5, 7, 3, 0, 11], [3, 3]])
def test_chunks_of_any_length_are_one_base64_text(sizes):
    chunks = [bytes(range(size)) for size in sizes]
    size = sum(sizes)
    body = Base64Body('{"a": ""}', lambda: iter(chunks), size, lambda sent: None)
    sent = b"".join(body)
    assert len(sent) == len(body)
    assert base64.b64decode(json.loads(sent)["a"], validate=True) == b"".join(chunks)


def test_a_damaged_archive_never_makes_a_whole_body(zips):
    export = make_export("hello", code_size=500_000)
    store = zips.Store(export)
    body = ImportBody({}, store.archive(), lambda sent: None)
    store.content = export[:400_000] + b"\0\1\2\3" + export[400_004:]
    sent = bytearray()

    def send():
        for part in body:
            sent.extend(part)

    with pytest.raises(PermanentFailure):
        send()
    assert 100_000 < len(sent) < len(body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(sent)
