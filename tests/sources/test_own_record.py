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


def test_all_fields_are_in_the_event():
    fields = {**WHERE, "version": "v1", "etag": '"e1"', "size": "3", "time": "2026-11-24T03:00:00Z"}
    found = own_event(fields)
    assert found.object == ObjectRef("exports", "a+b %2B.zip", "v1", "e1", 3)
    assert (found.type, found.time) == ("announced", TIME)


@pytest.mark.parametrize(
    ("fields", "identity"),
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
def test_the_identity_uses_the_best_available_field(fields, identity):
    assert own_event({**WHERE, **fields}).identity == identity


def test_a_version_identifies_the_same_event_as_a_notification_of_the_storage():
    first = own_event({**WHERE, "version": "v1"})
    assert first.id_in("x") == own_event({**WHERE, "version": "v1", "id": "other"}).id_in("x")


def test_events_are_ordered_by_time():
    times = ("2026-11-24T03:00:00Z", "2026-11-24T03:00:00.5Z", "2026-11-24T12:00:00+08:00")
    orders = [own_event({**WHERE, "id": "i", "time": time}).order for time in times]
    assert orders == sorted(orders)
    assert len(set(orders)) == 3
    assert {identity.partition(":")[0] for identity in orders} == {"relay"}
    assert own_event({**WHERE, "id": "i"}).order == ""


@pytest.mark.parametrize(
    "fields",
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
def test_a_record_without_identity_or_with_a_wrong_field_is_unreadable(fields):
    with pytest.raises(Unreadable):
        own_event({**WHERE, **fields})
