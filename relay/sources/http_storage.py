"""HttpStorage: base of storages with a REST API of their own."""

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
from relay.sources.contract import Queue, ScanPage, StorageHandler
from relay.sources.listing import ListingPage, bucket_pages
from relay.sources.range_stream import RangeStream, parse_range
from relay.sources.rest import HttpApi, Refusal

Address = Annotated[str, AfterValidator(rules.checked_url)]

_LENGTH = re.compile("[0-9]{1,19}")


class HttpSettings(ScannedSettings):
    """The keys of every source with a REST API."""

    anonymous: bool = Field(
        False, description="send no credentials: for public buckets and emulators"
    )


class CheckedQueue(Queue, Protocol):
    """A queue whose access can be tested."""

    def check(self) -> str:
        """Test the access without taking a message; return what worked."""


class HttpStream(RangeStream):
    """The bytes as sent; content encodings are not decoded."""

    failures: ClassVar = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


class HttpStorage(StorageHandler):
    """A storage with a REST API. Subclasses build the requests for objects and listings."""

    Settings: ClassVar[type[SourceSettings]] = HttpSettings
    settings: HttpSettings

    def __init__(
        self, name: str, settings: HttpSettings, credential: Credential, refusal: Refusal
    ) -> None:
        super().__init__(name, settings)
        self.credential = credential
        self.api = HttpApi(credential, refusal)

    @abstractmethod
    def list_bucket(self, bucket: str, marker: str, limit: int | None) -> Iterator[ListingPage]:
        """List a bucket; see `relay.sources.listing.ListBucket`."""

    def scan(self, since: datetime | None = None) -> Iterator[Event]:
        """List the objects of every bucket in `buckets`, a page at a time."""
        return (event for page in self.scan_pages(since) for event in page.events)

    def scan_pages(
        self,
        since: datetime | None = None,
        after: ScanCursor | None = None,
        limit: int | None = None,
    ) -> Iterator[ScanPage]:
        """List in pages, each with a single request."""
        return bucket_pages(self, self.list_bucket, since, after, limit)

    @abstractmethod
    def queue(self) -> CheckedQueue | None: ...

    def ready(self) -> str | None:
        """List an object of each bucket, and test the queue."""
        for bucket in self.settings.buckets:
            next(self.list_bucket(bucket, "", 1), None)
        results = [f"lists {bucket}" for bucket in self.settings.buckets]
        if queue := self.queue():
            with closing(queue):
                results.append(queue.check())
        return ", ".join(results) or None

    def close(self) -> None:
        self.api.close()


class _RawBody:
    """The undecoded body of a response."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response

    def read(self, size: int, /) -> bytes:
        part: bytes = self._response.raw.read1(size, decode_content=False)
        return part

    def close(self) -> None:
        self._response.close()


def open_stream(
    response: requests.Response,
    name: str,
    bounds: tuple[int, int | None],
    describe: Callable[[int], ObjectInfo],
) -> HttpStream:
    """Return the stream of a successful response. `bounds`: start and end of the requested range.

    `describe(size)` returns the object's description or raises; the response is then closed.
    """
    is_chunked = "Transfer-Encoding" in response.headers  # such a body has no known length
    length = "" if is_chunked else response.headers.get("Content-Length", "")
    # A 206 without Content-Range is invalid: it must not be taken for the whole object.
    default_range = None if response.status_code == 200 else "?"
    try:
        size, expected = parse_range(
            int(length) if _LENGTH.fullmatch(length) else None,
            response.headers.get("Content-Range", default_range),
            *bounds,
            name,
        )
        return HttpStream(_RawBody(response), describe(size), expected, name)
    except BaseException:
        response.close()
        raise


def parse_http_date(header: str | None) -> datetime | None:
    """Parse an HTTP date (RFC 9110 §5.6.7) as UTC; None when it is absent or invalid."""
    try:
        date = parsedate_to_datetime(header or "")
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def object_name(ref: ObjectRef) -> str:
    """The name of an object in errors."""
    return f"{ref.bucket}/{ref.key}"
