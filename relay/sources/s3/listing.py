"""Pages of a bucket listing, from any key on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relay.sources.contract import PAGE
from relay.sources.errors import endless_listing
from relay.sources.s3.client import FAILURES, translate


def list_pages(
    client: Any, bucket: str, after: str = "", limit: int | None = None
) -> Iterator[tuple[list[Any], bool]]:
    """The objects with keys after `after`, page by page, and whether it is the last page.

    The pages contain at most `limit` objects, if the store honours MaxKeys. Raises as
    `relay.sources.s3.client.translate` does; PermanentFailure if the store repeats a page.
    """
    arguments: dict[str, Any] = {"StartAfter": after} if after else {}
    token = None
    while True:
        size = PAGE if limit is None else min(PAGE, max(limit, 1))
        try:
            page = client.list_objects_v2(Bucket=bucket, MaxKeys=size, **arguments)
        except FAILURES as error:
            raise translate(error, bucket) from error
        objects = _keys_after(page.get("Contents") or [], after)
        previous, token = token, page.get("NextContinuationToken")
        is_last = not page.get("IsTruncated")
        if not is_last and (token is None or token == previous):
            raise endless_listing(bucket)
        limit = None if limit is None else limit - len(objects)
        yield objects, is_last
        if is_last:
            return
        arguments = {"ContinuationToken": token}


def _keys_after(objects: list[Any], after: str) -> list[Any]:
    """Drop the objects that a store without support for StartAfter lists again."""
    if not after or not objects or _bytes(objects[0]["Key"]) > _bytes(after):
        return objects
    return [item for item in objects if _bytes(item["Key"]) > _bytes(after)]


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
