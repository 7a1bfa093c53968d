"""The streaming reader returns the same as json.loads for any field order and chunk sizes."""

import base64
import io
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.testing.sandbox.body import Base64Sink, Malformed, NotBase64, TooLong, read_object

WORDS = st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


class Kept:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def close(self) -> None:
        self.closed = True

    @property
    def text(self) -> str:
        return b"".join(self.pieces).decode("utf-8", "surrogatepass")


def reader(body: bytes, size: int = 1 << 18) -> Any:
    stream = io.BytesIO(body)
    return lambda wanted: stream.read(min(wanted, size))


@given(
    st.dictionaries(WORDS.filter(lambda name: name != "big"), VALUES, max_size=4),
    WORDS,
    st.integers(0, 4),
    st.integers(1, 9),
    st.booleans(),
)
def test_fields_are_read_like_by_json_loads(
    fields: dict[str, Any], long: str, place: int, size: int, ascii_: bool
) -> None:
    pairs = list(fields.items())
    pairs.insert(place, ("big", long))
    body = json.dumps(dict(pairs), ensure_ascii=ascii_, indent=place or None).encode()
    sink = Kept()
    assert read_object(reader(body, size), {"big": sink}) == {**fields, "big": True}
    assert sink.text.encode("utf-16", "surrogatepass").decode("utf-16") == long
    assert sink.closed


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(1, 5))
def test_a_mangled_body_is_read_or_malformed(splice: bytes, place: int, size: int) -> None:
    good = b'{"a": [1, "two\\n", {"b": null}], "big": "QUJD\\u0044", "c": "\xc3\xa9"}'
    body = good[: place % len(good)] + splice + good[place % len(good) + 1 :]
    try:
        read_object(reader(body, size), {"big": Base64Sink(io.BytesIO(), 300)})
    except (Malformed, NotBase64):
        return
    json.loads(body)


def test_a_nested_long_string_is_written_to_its_sink() -> None:
    sink = Kept()
    body = b'{"func_code": {"link": "", "file": "QUJD"}, "code_type": "zip"}'
    fields = read_object(reader(body), {"func_code.file": sink})
    assert fields == {"func_code": {"link": "", "file": True}, "code_type": "zip"}
    assert sink.text == "QUJD"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"a"',
        b'{"a":',
        b'{"a":1',
        b'{"a":1,}',
        b'{"a":1}x',
        b"{'a':1}",
        b'{"a":NaN}',
        b"{1:2}",
        b'{"big":"abc',
        b'{"big":"\\x"}',
        b'{"big":"\\u12"}',
        b'{"big":"a","big":"b"}',
        b'{"a":"\xff"}',
        b'{"a":' + b"[" * 50_000,
        b'{"a":"' + b"x" * 70_000 + b'"}',
    ],
)
def test_a_body_that_is_not_a_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_object(reader(body), {"big": Kept()})


@given(st.binary(max_size=300), st.integers(1, 50))
def test_base64_in_any_pieces_is_decoded(content: bytes, size: int) -> None:
    target = io.BytesIO()
    sink = Base64Sink(target, 300)
    encoded = base64.b64encode(content)
    for start in range(0, len(encoded), size):
        sink.write(encoded[start : start + size])
    sink.close()
    assert target.getvalue() == content
    assert sink.size == len(content)


@pytest.mark.parametrize(
    "text", [b"QUJ", b"QU=D", b"QQ==QUJD", b"QUJ\n", b"====", b"Q===", b"QU-_", b"\xc3\xa9\xc3\xa9"]
)
@pytest.mark.parametrize("size", [1, 4, 8])
def test_invalid_base64_is_refused(text: bytes, size: int) -> None:
    sink = Base64Sink(io.BytesIO(), 300)
    with pytest.raises(NotBase64):
        write_all(sink, text, size)


def test_more_bytes_than_the_limit_are_too_long() -> None:
    sink = Base64Sink(io.BytesIO(), 5)
    with pytest.raises(TooLong):
        write_all(sink, base64.b64encode(b"123456"), 4)


def write_all(sink: Base64Sink, text: bytes, size: int) -> None:
    for start in range(0, len(text), size):
        sink.write(text[start : start + size])
    sink.close()


class Nothing(io.BytesIO):
    def write(self, piece: Any) -> int:
        return len(piece)


def test_sixty_megabytes_are_read_with_two_megabytes_of_memory() -> None:
    chunks = iter([b'{"big": "', *[b"QUJD" * (1 << 16)] * 240, b'"}'])
    sink = Base64Sink(Nothing(), 1 << 30)
    tracemalloc.start()
    try:
        read_object(lambda _: next(chunks, b""), {"big": sink})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sink.size == 240 * 3 * (1 << 16)
    assert peak < 2 << 20
