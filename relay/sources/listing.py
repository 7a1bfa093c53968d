"""A source's buckets, listed one after the other, from any place on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.errors import ConfigError
from relay.model import ObjectInfo, ObjectRef, ScanCursor
from relay.sources.contract import ScanPage, StorageHandler


@dataclass(frozen=True, slots=True)
class ListingPage:
    """A page of one bucket's listing.

    `looked`: how many things it lists, those included that are no objects. `goes_on`: where the
    listing goes on, in the storage's own words; None: this was its end.
    """

    found: Sequence[tuple[ObjectRef, ObjectInfo]]
    looked: int
    goes_on: str | None


ListBucket = Callable[[str, str, int | None], Iterator[ListingPage]]
"""list_bucket(bucket, place, limit): its pages from `place` on, in an order that stays; "" is the
beginning. They list no more than `limit` things, as far as the storage can be asked for so many."""


def bucket_pages(
    handler: StorageHandler,
    list_bucket: ListBucket,
    since: datetime | None,
    after: ScanCursor | None,
    limit: int | None,
) -> Iterator[ScanPage]:
    """What `StorageHandler.scan_pages` promises, over all buckets of the source's settings.

    Raises ConfigError when they name none, and what `list_bucket` raises.
    """
    buckets = handler.settings.buckets
    if not buckets:
        raise ConfigError(
            f"sources.{handler.name}.buckets",
            "The source has no buckets to list",
            'Name them, such as buckets = ["exports"].',
        )
    first, place = after if after and after[0] in buckets else (buckets[0], "")
    left = buckets[buckets.index(first) :]
    for bucket, following in zip(left, (*left[1:], None), strict=True):
        for page in list_bucket(bucket, place, limit):
            limit = None if limit is None else max(limit - page.looked, 1)
            here = None if page.goes_on is None else (bucket, page.goes_on)
            events = (handler.event_for(*one) for one in page.found if _is_due(one[1], since))
            yield ScanPage(
                tuple(events), page.looked, here or ((following, "") if following else None)
            )
        place = ""


def _is_due(info: ObjectInfo, since: datetime | None) -> bool:
    return since is None or info.modified is None or info.modified >= since
