"""Property tests with mutated archives: only RelayErrors, and never more bytes than given."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from contextlib import suppress
from functools import partial

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import inspect
from relay.archive.strict_yaml import load
from relay.delivery.plan import describe
from relay.errors import PermanentFailure, RelayError
from relay.testing.sandbox.exports import make_export
from tests.archive.conftest import File, StoredObject, Zip, good_files

property_test = partial(settings, max_examples=120, deadline=None)
EXPORT = make_export("hello", code_size=2000)
MIB = 1024 * 1024


def seeds():
    return [
        EXPORT,
        Zip(good_files(method=8), zip64={}, comment=b"hello").bytes(),
        Zip([File("f/", b""), *good_files(flags=8)]).bytes(),
    ]


def check(content):
    """Inspect and stream the content: only RelayErrors may occur.

    A completely streamed archive is a zip that zipfile reads in the same way.
    """
    stored = StoredObject(content)
    report = inspect(stored.size, stored.read)
    assert stored.bytes_read <= MIB
    assert len(report.findings) < 1000
    archive = CheckedArchive(stored.size, report.relaxed(), stored.open)
    out = bytearray()
    try:
        for chunk in archive.chunks():
            out += chunk
    except RelayError:
        assert len(out) < max(1, len(content))
    else:
        assert bytes(out) == content
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            assert opened.testzip() is None
            assert opened.namelist() == [entry.name for entry in report.entries]
            if archive.code_size is not None:
                code = opened.read(report.export.code.name)
                assert archive.code_digest() == hashlib.sha512(code).hexdigest()
    assert stored.still_open == 0


@property_test()
@given(st.data())
def test_truncated_archives(data):
    content = data.draw(st.sampled_from(seeds()))
    start = data.draw(st.integers(0, 40))
    end = data.draw(st.integers(0, len(content)))
    check(content[start:end])


@property_test()
@given(st.data())
def test_archives_with_changed_bytes(data):
    content = bytearray(data.draw(st.sampled_from(seeds())))
    for _ in range(data.draw(st.integers(1, 6))):
        # Half of the changes go to the end, where the directory and the end record are.
        low = data.draw(st.sampled_from([0, max(0, len(content) - 300)]))
        at = data.draw(st.integers(low, len(content) - 1))
        content[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    check(bytes(content))


@property_test()
@given(st.data())
def test_archives_with_moved_and_duplicated_pieces(data):
    base, other = (data.draw(st.sampled_from(seeds())) for _ in range(2))
    at = data.draw(st.integers(0, len(base)))
    start = data.draw(st.integers(0, len(other)))
    length = data.draw(st.integers(0, 400) | st.just(len(other)))
    skip = data.draw(st.integers(0, 60))
    check(base[:at] + other[start : start + length] + base[at + skip :])


@property_test()
@given(st.binary(max_size=400))
def test_random_bytes(noise):
    check(noise)
    check(noise + Zip([]).bytes())


FIELDS = ["flags", "method", "crc", "compressed", "size"]
values = st.sampled_from([0, 1, 8, 0xFFFF, 0x7FFF]) | st.integers(0, 0xFFFF)
field_changes = st.dictionaries(st.sampled_from(FIELDS), values, max_size=2)


@property_test()
@given(st.data())
def test_inconsistent_headers(data):
    files = good_files(method=data.draw(st.sampled_from([0, 8])))
    file = data.draw(st.sampled_from(files))
    file.local = data.draw(field_changes)
    file.central = data.draw(field_changes)
    file.local_extra = data.draw(st.binary(max_size=30))
    file.central_extra = data.draw(st.binary(max_size=30))
    end = data.draw(
        st.dictionaries(st.sampled_from(["here", "entries", "size", "offset"]), values, max_size=1)
    )
    zip64 = data.draw(st.none() | st.just({}) | st.just({"at": data.draw(values)}))
    check(Zip(files, end=end, zip64=zip64).bytes())


YAML_BITS = ["a: ", "&a ", "*a", "[", "]", "{", "}", "- ", "\n", "  ", "!!int ", "'", '"', ": "]
YAML_BITS += ["? ", "<<: ", "1:2:3", "0b_", "0x", ".nan", "2001-99-99", "~", "|", ">", "#", "---"]
YAML_BITS += ["%YAML 1.1", "\t", "é", "a", "\n\n"]
yaml_bits = st.sampled_from(YAML_BITS)


@property_test()
@given(st.lists(yaml_bits | st.text(max_size=3), max_size=30).map("".join))
def test_any_yaml_is_parsed_or_refused(text):
    with suppress(PermanentFailure):
        json.dumps(load(text), allow_nan=False)


@property_test()
@given(st.lists(yaml_bits | st.text(max_size=3), max_size=30).map("".join))
def test_any_properties_have_a_plan(text):
    lines = ["HcCrmTemplateVersion: v1", "Resources:", "  hello:", "    Properties:"]
    yaml = "\n".join([*lines, *(f"      {line}" for line in text.split("\n"))])
    stored = StoredObject(Zip([File("a.yaml", yaml.encode("utf-8", "replace"))]).bytes())
    json.dumps(describe(inspect(stored.size, stored.read)), allow_nan=False)


texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
trees = st.recursive(texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner))


@property_test()
@given(trees)
def test_a_dumped_text_is_loaded_unchanged(tree):
    assert load(yaml.safe_dump(tree)) == tree
