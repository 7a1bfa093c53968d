"""HttpStorage: what storages share whose objects are read by a REST API of their own."""

from __future__ import annotations

import http.client
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, ClassVar, Protocol

import requests
import urllib3
from pydantic import AfterValidator, Field

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.config.scans import ScannedSettings
from relay.model import Event, ObjectInfo, ObjectRef, ScanCursor
from relay.outbound.credentials import Credential
from relay.sources import range_stream as ranged
from relay.sources.contract import Queue, ScanPage, StorageHandler
from relay.sources.listing import ListingPage, bucket_pages
from relay.sources.rest import HttpApi, Refusal

Address = Annotated[str, AfterValidator(rules.checked_url)]

_LENGTH = re.compile("[0-9]{1,19}")


class HttpSettings(ScannedSettings):
    """The keys of every such source."""

    anonymous: bool = Field(False, description="ask without credentials: public buckets, emulators")


class CheckedQueue(Queue, Protocol):
    def check(self) -> str:
        """Tries it without taking a message, and says what worked."""


class HttpStream(ranged.RangeStream):
    """The bytes as they were sent: whatever Content-Encoding says, nothing is unpacked."""

    failures: ClassVar = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


class HttpStorage(StorageHandler):
    """A storage with a REST API. A subclass says how objects are asked for and listed."""

    Settings: ClassVar[type[SourceSettings]] = HttpSettings
    settings: HttpSettings

    def __init__(
        self, name: str, settings: HttpSettings, credential: Credential, refusal: Refusal
    ) -> None:
        super().__init__(name, settings)
        self.credential = credential
        self.api = HttpApi(credential, refusal)

    @abstractmethod
    def list_bucket(self, bucket: str, place: str, limit: int | None) -> Iterator[ListingPage]:
        """A `relay.sources.listing.ListBucket`."""

    def scan(self, since: datetime | None = None) -> Iterator[Event]:
        """The objects of every bucket in `buckets`, a page at a time."""
        return (event for page in self.scan_pages(since) for event in page.events)

    def scan_pages(
        self,
        since: datetime | None = None,
        after: ScanCursor | None = None,
        limit: int | None = None,
    ) -> Iterator[ScanPage]:
        """The same; each page is one call, and one of a whole bucket's is never asked for twice."""
        return bucket_pages(self, self.list_bucket, since, after, limit)

    @abstractmethod
    def queue(self) -> CheckedQueue | None: ...

    def ready(self) -> str | None:
        """Lists one object of each bucket, and tries the queue."""
        for bucket in self.settings.buckets:
            next(self.list_bucket(bucket, "", 1), None)
        tried = [f"lists {bucket}" for bucket in self.settings.buckets]
        if queue := self.queue():
            with closing(queue):
                tried.append(queue.check())
        return ", ".join(tried) or None

    def close(self) -> None:
        self.api.close()


class _Raw:
    def __init__(self, answer: requests.Response) -> None:
        self._answer = answer

    def read(self, size: int, /) -> bytes:
        part: bytes = self._answer.raw.read1(size, decode_content=False)
        return part

    def close(self) -> None:
        self._answer.close()


def open_stream(
    answer: requests.Response,
    thing: str,
    bounds: tuple[int, int | None],
    told: Callable[[int], ObjectInfo],
) -> HttpStream:
    """The bytes of a success. `bounds`: start and end of what was asked for.

    `told` makes the object's description when given its size; what it raises comes through.
    """
    is_chunked = "Transfer-Encoding" in answer.headers  # and so of no known length
    length = "" if is_chunked else answer.headers.get("Content-Length", "")
    # A part that does not say which must not pass for the whole.
    unsaid = None if answer.status_code == 200 else "?"
    try:
        size, wanted = ranged.parse_range(
            int(length) if _LENGTH.fullmatch(length) else None,
            answer.headers.get("Content-Range", unsaid),
            *bounds,
            thing,
        )
        return HttpStream(_Raw(answer), told(size), wanted, thing)
    except BaseException:
        answer.close()
        raise


def parse_http_date(header: str | None) -> datetime | None:
    """The time in an HTTP header (RFC 9110 §5.6.7), in UTC; None when it is not to be made out."""
    try:
        found = parsedate_to_datetime(header or "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def object_name(ref: ObjectRef) -> str:
    """How errors name an object."""
    return f"{ref.bucket}/{ref.key}"
