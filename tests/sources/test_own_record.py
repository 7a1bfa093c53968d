"""Relay's own record: the same format for every storage."""

from datetime import UTC, datetime

import pytest

from relay.errors import Unreadable
from relay.model import ObjectRef
from relay.sources.own_record import is_own_record, own_event

WHERE = {"bucket": "exports", "key": "a+b %2B.zip"}
TIME = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def test_it_is_told_from_others_by_its_fields():
    whole = {"version": 1, "etag": 1, "size": 1, "time": 1, "id": 1}
    assert is_own_record(WHERE)
    assert is_own_record({**WHERE, **whole})
    assert not is_own_record({**WHERE, **whole, "inode": 1})
    assert not is_own_record({"bucket": "exports"})
    assert not is_own_record({"key": "a.zip", "size": 1})
    assert not is_own_record({})


def test_all_that_is_said_is_in_the_event():
    said = {**WHERE, "version": "v1", "etag": '"e1"', "size": "3", "time": "2026-11-24T03:00:00Z"}
    found = own_event(said)
    assert found.object == ObjectRef("exports", "a+b %2B.zip", "v1", "e1", 3)
    assert (found.type, found.time) == ("announced", TIME)


@pytest.mark.parametrize(
    ("said", "identity"),
    [
        ({"version": "v1", "etag": "e1", "time": "2026-11-24T03:00:00Z", "id": "i"}, "version:v1"),
        ({"version": 1587627537231057}, "version:1587627537231057"),
        (
            {"etag": "e1", "time": "2026-11-24T11:00:00+08:00", "id": "i"},
            "etag:e1@2026-11-24T03:00:00+00:00",
        ),
        ({"etag": "e1", "id": "i"}, "id:i"),
        ({"time": "2026-11-24T03:00:00Z", "id": "i"}, "id:i"),
        ({"version": "null", "id": "i"}, "id:i"),
        ({"id": 7}, "id:7"),
    ],
)
def test_what_tells_uploads_apart_is_the_best_that_was_said(said, identity):
    assert own_event({**WHERE, **said}).identity == identity


def test_a_version_gives_the_same_event_as_the_storages_own_news():
    ours = own_event({**WHERE, "version": "v1"})
    assert ours.id_in("x") == own_event({**WHERE, "version": "v1", "id": "other"}).id_in("x")


def test_the_later_time_is_the_newer_one():
    times = ("2026-11-24T03:00:00Z", "2026-11-24T03:00:00.5Z", "2026-11-24T12:00:00+08:00")
    orders = [own_event({**WHERE, "id": "i", "time": time}).order for time in times]
    assert orders == sorted(orders)
    assert len(set(orders)) == 3
    assert {identity.partition(":")[0] for identity in orders} == {"relay"}
    assert own_event({**WHERE, "id": "i"}).order == ""


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"etag": "e1"},
        {"time": "2026-11-24T03:00:00Z"},
        {"version": "null"},
        {"id": ""},
        {"id": None},
        {"id": True},
        {"id": ["x"]},
        {"id": "x" * 5000},
        {"id": 10**400},
        {"version": {}},
        {"version": 1.5},
        {"etag": 3, "id": "i"},
        {"size": -1, "id": "i"},
        {"size": 10**400, "id": "i"},
        {"bucket": "", "id": "i"},
        {"bucket": 3, "id": "i"},
        {"key": "a\0b", "id": "i"},
        {"key": "\ud800", "id": "i"},
        {"key": None, "id": "i"},
    ],
)
def test_what_tells_no_upload_or_is_wrong_is_unreadable(said):
    with pytest.raises(Unreadable):
        own_event({**WHERE, **said})
