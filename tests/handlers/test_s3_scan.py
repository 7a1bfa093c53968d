"""Listing of buckets: no unnecessary calls, and continuation from any cursor."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from relay.errors import PermanentFailure, TemporaryFailure
from relay.handlers.s3 import Handler
from relay.model import utc_now
from relay.sources.s3.listing import list_pages

Make = Callable[..., Handler]


@pytest.fixture
def make(store: str) -> Iterator[Make]:
    made: list[Handler] = []

    def make(*buckets: str) -> Handler:
        settings = Handler.Settings(
            kind="s3",
            endpoint_url=store,
            region="us-east-1",
            addressing_style="path",
            access_key_id="test-key",
            secret_access_key="test-secret",
            buckets=buckets,
        )
        made.append(Handler("exports", settings))
        return made[-1]

    yield make
    for handler in made:
        handler.close()


def record_calls(handler: Handler) -> list[str]:
    """A list that records the URL of every list call."""
    calls: list[str] = []
    handler.client.meta.events.register(
        "before-send.s3.ListObjectsV2", lambda request, **_: calls.append(request.url)
    )
    return calls


def fill(s3: Any, bucket: str, count: int, prefix: str = "k") -> list[str]:
    keys = [f"{prefix}{number:05d}.zip" for number in range(count)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    return keys


def keys_of(pages: Any) -> list[str]:
    return [event.object.key for page in pages for event in page.events]


@pytest.fixture(scope="module")
def full(s3: Any) -> str:
    """A bucket of 2,001 objects, added inside of the server: only the listing uses HTTP."""
    s3.create_bucket(Bucket="full")
    for number in range(2001):
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("full", f"k{number:05d}.zip", b"x")
    return "full"


def test_a_bucket_of_2001_objects_is_listed_with_three_calls(make: Make, full: str) -> None:
    handler = make(full)
    calls = record_calls(handler)
    assert len(list(handler.scan())) == 2001
    assert len(calls) == 3


def test_a_run_stops_at_the_limit_and_the_next_run_continues(make: Make, full: str) -> None:
    handler = make(full)
    calls, seen, cursor = record_calls(handler), [], None
    for _ in range(2):
        listed = 0
        for page in handler.scan_pages(after=cursor, limit=1500):
            listed += page.listed
            seen += keys_of([page])
            cursor = page.cursor
            if listed >= 1500:
                break
        assert listed == (1500 if len(calls) <= 2 else 501)
    assert cursor is None, "it came to the end"
    assert seen == [f"k{number:05d}.zip" for number in range(2001)]
    assert len(calls) == 3


def test_a_scan_goes_from_bucket_to_bucket(make: Make, s3: Any, bucket: str) -> None:
    others = [f"{bucket}-empty", f"{bucket}-last"]
    for name in others:
        s3.create_bucket(Bucket=name)
    keys = fill(s3, bucket, 3)
    last = fill(s3, others[1], 2, "l")
    handler = make(bucket, *others)
    pages = list(handler.scan_pages(limit=2))
    assert keys_of(pages) == [*keys, *last]
    assert [page.cursor for page in pages][-1] is None
    assert all(page.cursor for page in pages[:-1])
    for number, page in enumerate(pages[:-1], 1):
        assert keys_of(handler.scan_pages(after=page.cursor)) == keys_of(pages[number:])


def test_a_cursor_in_a_removed_bucket_starts_from_the_beginning(
    make: Make, s3: Any, bucket: str
) -> None:
    keys = fill(s3, bucket, 2)
    assert keys_of(make(bucket).scan_pages(after=("removed", "z"))) == keys


def test_a_cursor_at_a_deleted_object_is_valid(make: Make, s3: Any, bucket: str) -> None:
    keys = fill(s3, bucket, 3)
    s3.delete_object(Bucket=bucket, Key=keys[1])
    assert keys_of(make(bucket).scan_pages(after=(bucket, keys[1]))) == keys[2:]


@pytest.mark.parametrize("key", ["a b+%2B", "键/键", "a\tb", "z\u00ff", "🚀"])
def test_an_odd_key_is_a_valid_cursor(make: Make, s3: Any, bucket: str, key: str) -> None:
    for item in (key, f"{key}!"):
        s3.put_object(Bucket=bucket, Key=item, Body=b"x")
    assert keys_of(make(bucket).scan_pages(after=(bucket, key))) == [f"{key}!"]


def test_older_objects_are_listed_without_events(make: Make, full: str) -> None:
    pages = list(make(full).scan_pages(utc_now() + timedelta(hours=1)))
    assert keys_of(pages) == []
    assert sum(page.listed for page in pages) == 2001


class Store:
    """A store that deviates from S3."""

    def __init__(self, *pages: list[str], honours: bool = True, tokens: bool = True) -> None:
        self.pages = pages
        self.honours = honours
        self.tokens = tokens
        self.calls: list[Any] = []

    def list_objects_v2(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        number = int(arguments.get("ContinuationToken", 0))
        is_last = number + 1 == len(self.pages)
        after = arguments.get("StartAfter", "") if self.honours else ""
        keys = [{"Key": key} for key in self.pages[number] if key > after]
        token = {"NextContinuationToken": str(number + 1)} if self.tokens else {}
        return {"Contents": keys, "IsTruncated": not is_last, **({} if is_last else token)}


def test_keys_before_start_after_are_skipped_if_the_store_ignores_it() -> None:
    store = Store(["a", "b"], ["c", "d"], ["e"], honours=False)
    pages = list(list_pages(store, "x", "c", limit=10))
    assert [[item["Key"] for item in page] for page, _ in pages] == [[], ["d"], ["e"]]
    assert [arguments["MaxKeys"] for arguments in store.calls] == [10, 10, 9], (
        "what is skipped costs none"
    )


def test_an_empty_page_is_not_the_end() -> None:
    pages = list(list_pages(Store(["a"], [], ["b"]), "x"))
    assert [[item["Key"] for item in page] for page, _ in pages] == [["a"], [], ["b"]]
    assert [is_last for _, is_last in pages] == [False, False, True]


def test_a_truncated_page_without_a_token_is_an_error() -> None:
    with pytest.raises(PermanentFailure) as raised:
        list(list_pages(Store(["a"], ["b"], tokens=False), "x"))
    assert raised.value.code == "storage.listing_goes_round"


def test_a_repeated_page_ends_the_listing() -> None:
    class Stuck(Store):
        def list_objects_v2(self, **arguments: Any) -> Any:
            return {"Contents": [{"Key": "a"}], "IsTruncated": True, "NextContinuationToken": "t"}

    with pytest.raises(PermanentFailure):
        list(list_pages(Stuck(), "x"))


def test_a_long_listing_is_not_kept_in_memory() -> None:
    class Listed(list[Any]):
        """A list that supports weak references."""

    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Endless(Store):
        def list_objects_v2(self, **arguments: Any) -> Any:
            number = int(arguments.get("ContinuationToken", 0))
            keys = Listed([{"Key": f"{number:05d}"}])
            alive.add(keys)
            more = {"IsTruncated": number < 200, "NextContinuationToken": str(number + 1)}
            return {"Contents": keys, **more}

    Listed.__hash__ = object.__hash__  # type: ignore[assignment]
    most = max(len(alive) for _ in list_pages(Endless(), "x"))
    assert most <= 2, "pages are kept"


def test_a_missing_bucket_is_an_error(make: Make) -> None:
    with closing(make("no-such-bucket")) as handler, pytest.raises(TemporaryFailure) as raised:
        list(handler.scan_pages())
    assert raised.value.code == "storage.no_bucket"
