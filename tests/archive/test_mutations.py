"""Good archives, cut, flipped and spliced: never an error outside the tree, never more bytes."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from contextlib import suppress
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.archive.checked_archive import CheckedArchive
from relay.archive.inspect import inspect
from relay.archive.strict_yaml import load
from relay.errors import PermanentFailure, RelayError
from relay.testing.sandbox.exports import make_export

many = partial(settings, max_examples=120, deadline=None)
EXPORT = make_export("hello", code_size=2000)
MIB = 1024 * 1024


def seeds(zips):
    return [
        EXPORT,
        zips.Zip(zips.good_files(method=8), zip64={}, comment=b"hello").bytes(),
        zips.Zip([zips.File("f/", b""), *zips.good_files(flags=8)]).bytes(),
    ]


def survives(zips, content):
    """Looks, and if nothing is wrong sends; only errors of the tree may come.

    What goes out whole is a zip that Python's own reader understands in the same way.
    """
    store = zips.StoredObject(content)
    report = inspect(store.size, store.read)
    assert store.bytes_read <= MIB
    assert len(report.findings) < 1000
    archive = CheckedArchive("x.zip", store.size, report.relaxed(), store.open)
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
    assert store.still_open == 0


@many()
@given(st.data())
def test_cut_anywhere(zips, data):
    content = data.draw(st.sampled_from(seeds(zips)))
    start = data.draw(st.integers(0, 40))
    end = data.draw(st.integers(0, len(content)))
    survives(zips, content[start:end])


@many()
@given(st.data())
def test_bytes_changed_anywhere(zips, data):
    content = bytearray(data.draw(st.sampled_from(seeds(zips))))
    for _ in range(data.draw(st.integers(1, 6))):
        # The ends are where an archive is decided: half of the changes go there.
        low = data.draw(st.sampled_from([0, max(0, len(content) - 300)]))
        at = data.draw(st.integers(low, len(content) - 1))
        content[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    survives(zips, bytes(content))


@many()
@given(st.data())
def test_pieces_moved_and_doubled(zips, data):
    one, other = (data.draw(st.sampled_from(seeds(zips))) for _ in range(2))
    at = data.draw(st.integers(0, len(one)))
    start = data.draw(st.integers(0, len(other)))
    length = data.draw(st.integers(0, 400) | st.just(len(other)))
    skip = data.draw(st.integers(0, 60))
    survives(zips, one[:at] + other[start : start + length] + one[at + skip :])


@many()
@given(st.binary(max_size=400))
def test_noise(zips, noise):
    survives(zips, noise)
    survives(zips, noise + zips.Zip([]).bytes())


FIELDS = ["flags", "method", "crc", "compressed", "size"]
values = st.sampled_from([0, 1, 8, 0xFFFF, 0x7FFF]) | st.integers(0, 0xFFFF)
lies = st.dictionaries(st.sampled_from(FIELDS), values, max_size=2)


@many()
@given(st.data())
def test_lying_headers(zips, data):
    files = zips.good_files(method=data.draw(st.sampled_from([0, 8])))
    file = data.draw(st.sampled_from(files))
    file.local = data.draw(lies)
    file.central = data.draw(lies)
    file.local_extra = data.draw(st.binary(max_size=30))
    file.central_extra = data.draw(st.binary(max_size=30))
    end = data.draw(
        st.dictionaries(st.sampled_from(["here", "entries", "size", "offset"]), values, max_size=1)
    )
    zip64 = data.draw(st.none() | st.just({}) | st.just({"at": data.draw(values)}))
    survives(zips, zips.Zip(files, end=end, zip64=zip64).bytes())


YAML_BITS = ["a: ", "&a ", "*a", "[", "]", "{", "}", "- ", "\n", "  ", "!!int ", "'", '"', ": "]
YAML_BITS += ["? ", "<<: ", "1:2:3", "0b_", "0x", ".nan", "2001-99-99", "~", "|", ">", "#", "---"]
YAML_BITS += ["%YAML 1.1", "\t", "é", "a", "\n\n"]
yaml_bits = st.sampled_from(YAML_BITS)


@many()
@given(st.lists(yaml_bits | st.text(max_size=3), max_size=30).map("".join))
def test_any_yaml_is_read_or_refused(text):
    with suppress(PermanentFailure):
        json.dumps(load(text), allow_nan=False)
