"""Listing of all buckets of a source, page by page, from a cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.errors import ConfigError
from relay.model import ObjectInfo, ObjectRef, ScanCursor
from relay.sources.contract import ScanPage, StorageHandler


@dataclass(frozen=True, slots=True)
class ListingPage:
    """A page of a bucket's listing.

    `listed`: the number of entries, including those that are not objects. `next_marker`: where
    the next page starts, in the storage's own format; None for the last page.
    """

    objects: Sequence[tuple[ObjectRef, ObjectInfo]]
    listed: int
    next_marker: str | None


ListBucket = Callable[[str, str, int | None], Iterator[ListingPage]]
"""list_bucket(bucket, marker, limit) yields pages in a stable order, from `marker` on ("" is the
start). The pages have at most `limit` entries, if the storage supports such a limit."""


def bucket_pages(
    handler: StorageHandler,
    list_bucket: ListBucket,
    since: datetime | None,
    after: ScanCursor | None,
    limit: int | None,
) -> Iterator[ScanPage]:
    """Implement `StorageHandler.scan_pages` over all buckets of the source's settings.

    Raises ConfigError without buckets, and the errors of `list_bucket`.
    """
    buckets = handler.settings.buckets
    if not buckets:
        raise ConfigError(
            f"sources.{handler.name}.buckets",
            "The source has no buckets to list",
            'Name them, for example buckets = ["exports"].',
        )
    first, marker = after if after and after[0] in buckets else (buckets[0], "")
    remaining = buckets[buckets.index(first) :]
    for bucket, next_bucket in zip(remaining, (*remaining[1:], None), strict=True):
        next_start = (next_bucket, "") if next_bucket else None
        for page in list_bucket(bucket, marker, limit):
            limit = None if limit is None else max(limit - page.listed, 1)
            events = tuple(
                handler.event_for(ref, info)
                for ref, info in page.objects
                if since is None or info.modified is None or info.modified >= since
            )
            is_last = page.next_marker is None
            cursor = next_start if is_last else (bucket, page.next_marker or "")
            yield ScanPage(events, page.listed, cursor)
        marker = ""
