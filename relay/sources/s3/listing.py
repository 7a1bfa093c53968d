"""The pages of a bucket's listing: one call each, from any key on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relay.sources.contract import PAGE
from relay.sources.errors import endless_listing
from relay.sources.s3.client import FAILURES, translate


def listing(
    client: Any, bucket: str, after: str = "", limit: int | None = None
) -> Iterator[tuple[list[Any], bool]]:
    """The objects whose keys come after `after`, page by page, and whether it is the last page.

    The pages hold no more than `limit` objects, as far as the store honours that. Raises as
    `relay.sources.s3.client.translate` does; PermanentFailure when the store repeats a page.
    """
    arguments: dict[str, Any] = {"StartAfter": after} if after else {}
    token = None
    while True:
        size = PAGE if limit is None else min(PAGE, max(limit, 1))
        try:
            page = client.list_objects_v2(Bucket=bucket, MaxKeys=size, **arguments)
        except FAILURES as error:
            raise translate(error, bucket) from error
        listed = _behind(page.get("Contents") or [], after)
        before, token = token, page.get("NextContinuationToken")
        is_last = not page.get("IsTruncated")
        if not is_last and (token is None or token == before):
            raise endless_listing(bucket)
        limit = None if limit is None else limit - len(listed)
        yield listed, is_last
        if is_last:
            return
        arguments = {"ContinuationToken": token}


def _behind(listed: list[Any], after: str) -> list[Any]:
    """Without what a store lists again that does not know StartAfter."""
    if not after or not listed or _bytes(listed[0]["Key"]) > _bytes(after):
        return listed
    return [one for one in listed if _bytes(one["Key"]) > _bytes(after)]


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
