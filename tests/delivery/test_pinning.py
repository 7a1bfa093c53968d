"""The announced object is compared with the stored object: pinned if equal, else Superseded."""

from __future__ import annotations

import io

import pytest

from relay.delivery.pinning import is_current, pin
from relay.errors import Gone, Superseded, TemporaryFailure
from relay.model import ObjectInfo, ObjectRef
from relay.sources.contract import StorageHandler

STORED = ObjectInfo(3, "e2", "v2")


class FakeHandler(StorageHandler):
    """A storage with a single object; a response may be an error, the last response repeats."""

    def __init__(self, *responses):
        super().__init__("fake", None)
        self.responses = list(responses)
        self.requests = []

    def parse(self, record):
        return ()

    def open(self, ref, start=0, end=None):
        self.requests.append(ref)
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if isinstance(response, Exception):
            raise response
        if ref.etag not in (None, response.etag) or ref.version not in (None, response.version):
            raise Superseded("object.superseded", "It changed")
        stream = io.BytesIO(b"abc")
        stream.info = response
        return stream


def ref(**more):
    return ObjectRef("b", "k", **more)


@pytest.mark.parametrize(
    "announced", [{}, {"etag": "e2"}, {"version": "v2"}, {"size": 3}, {"etag": "e2", "size": 3}]
)
def test_an_unchanged_object_is_pinned_to_all_that_the_storage_reports(announced):
    assert pin(FakeHandler(STORED), ref(**announced)) == ref(version="v2", etag="e2", size=3)


def test_another_size_is_reported_with_both_sizes():
    with pytest.raises(Superseded, match="says 4 bytes, the storage holds 3") as caught:
        pin(FakeHandler(STORED), ref(size=4))
    assert caught.value.code == "object.other_size"
    assert "4 字节" in caught.value.message.zh


def test_another_etag_is_reported_with_both_etags():
    handler = FakeHandler(STORED)
    with pytest.raises(Superseded) as caught:
        pin(handler, ref(etag="e1", version="v2", size=9))
    assert caught.value.code == "object.other_etag"
    message = (
        "The notification announced the ETag e1 (9 bytes), the storage holds the ETag e2 (3 bytes)"
    )
    assert caught.value.message.en == message
    assert "ETag e1（9 字节）" in caught.value.message.zh
    assert handler.requests[-1] == ref(version="v2", size=9)


@pytest.mark.parametrize(
    "second_response",
    [
        TemporaryFailure("x", "down"),
        ObjectInfo(3),
        ObjectInfo(3, "e1"),
    ],
)
def test_a_change_without_a_known_etag_keeps_the_error_of_the_storage(second_response):
    superseded = Superseded("object.superseded", "It changed")
    with pytest.raises(Superseded) as caught:
        pin(FakeHandler(superseded, second_response), ref(etag="e1"))
    assert caught.value is superseded


def test_a_missing_object_is_gone_even_if_the_storage_reports_another_etag():
    superseded = Superseded("object.superseded", "It changed")
    with pytest.raises(Gone):
        pin(FakeHandler(superseded, Gone("object.gone", "gone")), ref(etag="e1"))


@pytest.mark.parametrize("error", [Gone("object.gone", "gone"), TemporaryFailure("x", "down")])
def test_other_errors_are_passed_on(error):
    with pytest.raises(type(error)):
        pin(FakeHandler(error), ref(etag="e1"))
    with pytest.raises(type(error)):
        is_current(FakeHandler(error), ref(etag="e1"))


@pytest.mark.parametrize(
    ("announced", "current"),
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
def test_an_object_is_current_if_version_or_etag_match(announced, current):
    assert is_current(FakeHandler(STORED), ref(**announced)) is current


def test_an_object_without_version_and_etag_counts_as_current():
    assert is_current(FakeHandler(ObjectInfo(3)), ref(etag="e1", version="v1"))
