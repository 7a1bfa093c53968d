"""What was announced, held against what is there: pinned when it is the same, told when not."""

from __future__ import annotations

import io

import pytest

from relay.delivery.pinning import is_current, pin
from relay.errors import Gone, Superseded, TemporaryFailure
from relay.model import ObjectInfo, ObjectRef
from relay.sources.contract import StorageHandler

THERE = ObjectInfo(3, "e2", "v2")


class Shelf(StorageHandler):
    """One object, which answers as stores do; `held` may be an error."""

    def __init__(self, *held):
        super().__init__("shelf", None)
        self.held = list(held)
        self.asked = []

    def parse(self, record):
        return ()

    def open(self, ref, start=0, end=None):
        self.asked.append(ref)
        there = self.held.pop(0) if len(self.held) > 1 else self.held[0]
        if isinstance(there, Exception):
            raise there
        if ref.etag not in (None, there.etag) or ref.version not in (None, there.version):
            raise Superseded("object.superseded", "It changed")
        stream = io.BytesIO(b"abc")
        stream.info = there
        return stream


def ref(**more):
    return ObjectRef("b", "k", **more)


@pytest.mark.parametrize(
    "told", [{}, {"etag": "e2"}, {"version": "v2"}, {"size": 3}, {"etag": "e2", "size": 3}]
)
def test_what_is_there_as_announced_is_pinned_to_all_that_the_store_tells(told):
    assert pin(Shelf(THERE), ref(**told)) == ref(version="v2", etag="e2", size=3)


def test_another_size_is_told():
    with pytest.raises(Superseded, match="says 4 bytes, the storage holds 3") as caught:
        pin(Shelf(THERE), ref(size=4))
    assert caught.value.code == "object.other_size"
    assert "4 字节" in caught.value.message.zh


def test_another_etag_is_told_with_what_is_there_of_that_version():
    shelf = Shelf(THERE)
    with pytest.raises(Superseded) as caught:
        pin(shelf, ref(etag="e1", version="v2", size=9))
    assert caught.value.code == "object.other_etag"
    words = (
        "The notification announced the ETag e1 (9 bytes), the storage holds the ETag e2 (3 bytes)"
    )
    assert caught.value.message.en == words
    assert "ETag e1（9 字节）" in caught.value.message.zh
    assert shelf.asked[-1] == ref(version="v2", size=9)


@pytest.mark.parametrize(
    "then",
    [
        Gone("object.gone", "gone"),
        TemporaryFailure("x", "down"),
        ObjectInfo(3),
        ObjectInfo(3, "e1"),
    ],
)
def test_what_cannot_be_named_is_told_as_the_store_told_it(then):
    superseded = Superseded("object.superseded", "It changed")
    with pytest.raises(Superseded) as caught:
        pin(Shelf(superseded, then), ref(etag="e1"))
    assert caught.value is superseded


@pytest.mark.parametrize("error", [Gone("object.gone", "gone"), TemporaryFailure("x", "down")])
def test_other_errors_come_through(error):
    with pytest.raises(type(error)):
        pin(Shelf(error), ref(etag="e1"))
    with pytest.raises(type(error)):
        is_current(Shelf(error), ref(etag="e1"))


@pytest.mark.parametrize(
    ("told", "current"),
    [
        ({"version": "v2"}, True),
        ({"version": "v2", "etag": "e1"}, True),
        ({"version": "v1", "etag": "e2"}, False),
        ({"etag": "e2"}, True),
        ({"etag": "e1"}, False),
        ({"size": 9}, True),
        ({}, True),
    ],
)
def test_what_lies_under_the_key_now_is_current(told, current):
    assert is_current(Shelf(THERE), ref(**told)) is current


def test_where_the_store_tells_nothing_nothing_is_refused():
    assert is_current(Shelf(ObjectInfo(3)), ref(etag="e1", version="v1"))
