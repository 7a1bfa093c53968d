"""Request bodies of known length that carry a file as base64."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from relay.errors import PermanentFailure
from relay.targets.functiongraph.body import Base64Body, CodeBody, ImportBody
from relay.testing.sandbox.exports import make_export
from relay.testing.target_suite import ignore
from tests.archive.conftest import StoredObject

FIELDS = {"func_name": 'he"llo', "package": "默认", "file_name": "a\\b\n\u2028.zip"}


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 400_000, 400_001])
def test_an_import_body_has_the_announced_length_and_can_be_sent_again(padding):
    export = make_export("hello", code_size=padding)
    body = ImportBody(FIELDS, StoredObject(export).archive(), ignore)
    for _ in range(2):
        sent = b"".join(body)
        assert len(sent) == len(body)
        fields = json.loads(sent)
        assert base64.b64decode(fields.pop("file_code"), validate=True) == export
        assert fields == FIELDS


def test_progress_adds_up_to_the_size_of_the_archive():
    export = make_export("hello", code_size=1_500_000)
    reported = []
    body = ImportBody(FIELDS, StoredObject(export).archive(), reported.append)
    for _ in body:
        pass
    assert sum(reported) == len(export)
    assert len(reported) > 2


def test_bytes_that_a_second_pass_repeats_are_not_progress():
    export = make_export("hello", code_size=1_500_000)
    reported = []
    body = ImportBody(FIELDS, StoredObject(export).archive(), reported.append)
    first = iter(body)
    for _ in range(4):
        next(first)
    assert 0 < sum(reported) < len(export)
    for _ in body:
        pass
    assert sum(reported) == len(export)


def test_the_code_body_has_the_code_in_a_nested_field():
    archive = StoredObject(make_export("hello", code_size=500_000)).archive()
    fields = {"code_type": "zip", "code_filename": "index.zip"}
    body = CodeBody(fields, archive, archive.code_size, ignore)
    sent = b"".join(body)
    assert len(sent) == len(body)
    sent_fields = json.loads(sent)
    code = base64.b64decode(sent_fields["func_code"]["file"], validate=True)
    assert hashlib.sha512(code).hexdigest() == archive.code_digest()
    assert list(sent_fields) == ["code_type", "code_filename", "func_code"]


@pytest.mark.parametrize("sizes", [[], [1], [1, 1, 1], [2, 5, 7, 3, 0, 11], [3, 3]])
def test_chunks_of_any_length_form_a_single_base64_text(sizes):
    chunks = [bytes(range(size)) for size in sizes]
    size = sum(sizes)
    body = Base64Body('{"a": ""}', lambda: iter(chunks), size, ignore)
    sent = b"".join(body)
    assert len(sent) == len(body)
    assert base64.b64decode(json.loads(sent)["a"], validate=True) == b"".join(chunks)


def test_a_damaged_archive_never_produces_a_complete_body():
    export = make_export("hello", code_size=500_000)
    stored = StoredObject(export)
    body = ImportBody({}, stored.archive(), ignore)
    stored.content = export[:400_000] + b"\0\1\2\3" + export[400_004:]
    sent = bytearray()

    def send():
        for part in body:
            sent.extend(part)

    with pytest.raises(PermanentFailure):
        send()
    assert 100_000 < len(sent) < len(body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(sent)
