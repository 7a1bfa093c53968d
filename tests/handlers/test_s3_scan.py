"""Listing buckets: exactly the calls that are needed, and on from any place."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from relay.errors import PermanentFailure
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


def counted(handler: Handler) -> list[str]:
    """Fills with the address of every list call that goes over the wire from now on."""
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
    """A bucket of 2,001 objects, put there behind the server's door: it is the way back, the
    listing, that goes over the wire."""
    s3.create_bucket(Bucket="full")
    for number in range(2001):
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object("full", f"k{number:05d}.zip", b"x")
    return "full"


def test_a_bucket_of_2001_objects_is_listed_with_three_calls(make: Make, full: str) -> None:
    handler = make(full)
    calls = counted(handler)
    assert len(list(handler.scan())) == 2001
    assert len(calls) == 3


def test_a_run_looks_at_no_more_than_it_may_and_the_next_goes_on_there(
    make: Make, full: str
) -> None:
    handler = make(full)
    calls, seen, cursor = counted(handler), [], None
    for _ in range(2):
        looked = 0
        for page in handler.scan_pages(after=cursor, limit=1500):
            looked += page.listed
            seen += keys_of([page])
            cursor = page.cursor
            if looked >= 1500:
                break
        assert looked == (1500 if len(calls) <= 2 else 501)
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


def test_a_place_in_a_bucket_that_is_not_listed_any_more_is_the_beginning(
    make: Make, s3: Any, bucket: str
) -> None:
    keys = fill(s3, bucket, 2)
    assert keys_of(make(bucket).scan_pages(after=("removed", "z"))) == keys


def test_a_place_whose_object_is_gone_is_a_place(make: Make, s3: Any, bucket: str) -> None:
    keys = fill(s3, bucket, 3)
    s3.delete_object(Bucket=bucket, Key=keys[1])
    assert keys_of(make(bucket).scan_pages(after=(bucket, keys[1]))) == keys[2:]


@pytest.mark.parametrize("key", ["a b+%2B", "键/键", "a\tb", "z\u00ff", "🚀"])
def test_an_odd_key_is_a_place_too(make: Make, s3: Any, bucket: str, key: str) -> None:
    for one in (key, f"{key}!"):
        s3.put_object(Bucket=bucket, Key=one, Body=b"x")
    assert keys_of(make(bucket).scan_pages(after=(bucket, key))) == [f"{key}!"]


def test_what_is_older_is_looked_at_but_not_told(make: Make, full: str) -> None:
    pages = list(make(full).scan_pages(utc_now() + timedelta(hours=1)))
    assert keys_of(pages) == []
    assert sum(page.listed for page in pages) == 2001


class Store:
    """What a store answers that is not quite S3."""

    def __init__(self, *pages: list[str], honours: bool = True, tokens: bool = True) -> None:
        self.pages = pages
        self.honours = honours
        self.tokens = tokens
        self.asked: list[Any] = []

    def list_objects_v2(self, **asked: Any) -> Any:
        self.asked.append(asked)
        number = int(asked.get("ContinuationToken", 0))
        is_last = number + 1 == len(self.pages)
        after = asked.get("StartAfter", "") if self.honours else ""
        keys = [{"Key": key} for key in self.pages[number] if key > after]
        token = {"NextContinuationToken": str(number + 1)} if self.tokens else {}
        return {"Contents": keys, "IsTruncated": not is_last, **({} if is_last else token)}


def test_a_store_that_does_not_know_start_after_is_skipped_through() -> None:
    store = Store(["a", "b"], ["c", "d"], ["e"], honours=False)
    pages = list(list_pages(store, "x", "c", limit=10))
    assert [[one["Key"] for one in page] for page, _ in pages] == [[], ["d"], ["e"]]
    assert [asked["MaxKeys"] for asked in store.asked] == [10, 10, 9], "what is skipped costs none"


def test_an_empty_page_is_not_the_end() -> None:
    pages = list(list_pages(Store(["a"], [], ["b"]), "x"))
    assert [[one["Key"] for one in page] for page, _ in pages] == [["a"], [], ["b"]]
    assert [is_last for _, is_last in pages] == [False, False, True]


def test_a_store_that_does_not_say_where_it_goes_on_is_told_of() -> None:
    with pytest.raises(PermanentFailure) as caught:
        list(list_pages(Store(["a"], ["b"], tokens=False), "x"))
    assert caught.value.code == "storage.listing_goes_round"


def test_a_store_that_says_the_same_again_does_not_keep_us_for_ever() -> None:
    class Stuck(Store):
        def list_objects_v2(self, **asked: Any) -> Any:
            return {"Contents": [{"Key": "a"}], "IsTruncated": True, "NextContinuationToken": "t"}

    with pytest.raises(PermanentFailure):
        list(list_pages(Stuck(), "x"))


def test_a_long_listing_is_never_in_memory_whole() -> None:
    class Listed(list[Any]):
        """A list that can be seen to be let go."""

    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Endless(Store):
        def list_objects_v2(self, **asked: Any) -> Any:
            number = int(asked.get("ContinuationToken", 0))
            keys = Listed([{"Key": f"{number:05d}"}])
            alive.add(keys)
            more = {"IsTruncated": number < 200, "NextContinuationToken": str(number + 1)}
            return {"Contents": keys, **more}

    Listed.__hash__ = object.__hash__  # type: ignore[assignment]
    most = max(len(alive) for _ in list_pages(Endless(), "x"))
    assert most <= 2, "pages are kept"


def test_a_bucket_that_is_not_there_is_told_of(make: Make) -> None:
    with closing(make("no-such-bucket")) as handler, pytest.raises(PermanentFailure) as caught:
        list(handler.scan_pages())
    assert caught.value.code == "storage.no_bucket"
