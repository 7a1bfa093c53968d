"""S3Storage, the base of S3-compatible storages: pinned range reads, listing, and SQS."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.config.scans import ScannedSettings
from relay.errors import PermanentFailure, RelayError
from relay.model import Event, Localized, ObjectInfo, ObjectRef, ScanCursor
from relay.sources import range_stream as ranged
from relay.sources.contract import Queue, ScanPage, StorageHandler
from relay.sources.errors import superseded
from relay.sources.listing import ListingPage, bucket_pages
from relay.sources.s3.client import (
    FAILURES,
    AwsSettings,
    http_status,
    make_client,
    region_of_host,
    translate,
)
from relay.sources.s3.listing import list_pages
from relay.sources.s3.records import KeyEncoding
from relay.sources.s3.sqs import SqsQueue

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")

Address = Annotated[str, AfterValidator(rules.checked_url)]
QueueAddress = Annotated[
    str,
    AfterValidator(
        partial(
            rules.checked_url,
            example="https://sqs.us-east-1.amazonaws.com/123456789012/uploads",
        )
    ),
]


class S3Settings(ScannedSettings, AwsSettings):
    """The settings of a source with the S3 protocol."""

    endpoint_url: Address | None = Field(None, description="the store's address; by default AWS")
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", description="the place of the bucket in a URL; MinIO and Ceph: path, OBS: virtual"
    )
    key_encoding: KeyEncoding = Field(
        "auto", description="the encoding of keys in notifications: url, raw, or by sender"
    )
    sqs_queue_url: QueueAddress | None = Field(
        None, description="the queue to pull notifications from, beside or instead of the hook"
    )

    @property
    def address(self) -> str | None:
        """The store's address; None for AWS."""
        return self.endpoint_url


class S3Stream(ranged.RangeStream):
    """The body of a response."""

    failures = FAILURES


class S3Storage(StorageHandler):
    """A storage with the S3 protocol. A subclass parses the records."""

    Settings: ClassVar[type[SourceSettings]] = S3Settings
    settings: S3Settings
    queue_settings: ClassVar[tuple[str, ...]] = ("sqs_queue_url",)

    def __init__(self, name: str, settings: S3Settings) -> None:
        super().__init__(name, settings)
        address = settings.address
        region = settings.region or region_of_host(urlsplit(address or "").hostname or "")
        self.client = make_client(
            "s3",
            name,
            settings,
            endpoint_url=address,
            region_name=region or ("us-east-1" if address else None),
            s3={"addressing_style": settings.addressing_style},
        )

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> S3Stream:
        """The bytes [start, end), pinned to the version, or else to the ETag."""
        if end is not None and end <= start:
            return self._empty_range(ref)
        range_ = ranged.range_header(start, end)
        arguments = {"Range": range_} if range_ else {}
        try:
            response = self.client.get_object(**_pinned(ref), **arguments)
        except FAILURES as error:
            if http_status(error) == 416:
                return self._empty_range(ref)
            raise translate(error, _name(ref)) from error
        try:
            return _stream(ref, response, start, end)
        except BaseException:
            response["Body"].close()
            raise

    def scan(self, since: datetime | None = None) -> Iterator[Event]:
        """The objects of all `buckets`, sorted by key."""
        return (event for page in self.scan_pages(since) for event in page.events)

    def scan_pages(
        self,
        since: datetime | None = None,
        after: ScanCursor | None = None,
        limit: int | None = None,
    ) -> Iterator[ScanPage]:
        """The same in pages; each page is a call, and no page is requested twice."""
        return bucket_pages(self, self._list_bucket, since, after, limit)

    def queue(self) -> Queue | None:
        """The SQS queue of `sqs_queue_url`."""
        url = self.settings.sqs_queue_url
        return SqsQueue(self.name, url, self.settings) if url else None

    def ready(self) -> str | None:
        """List a key of each bucket, and read the length of the queue."""
        results = []
        for bucket in self.settings.buckets:
            self._list_first(bucket)
            results.append(f"lists {bucket}")
        if url := self.settings.sqs_queue_url:
            with closing(SqsQueue(self.name, url, self.settings)) as queue:
                results.append(f"{queue.length()} messages in the queue")
        return ", ".join(results) or None

    def close(self) -> None:
        self.client.close()

    def _list_first(self, bucket: str) -> None:
        try:
            self.client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        except FAILURES as error:
            raise translate(error, bucket) from error

    def _list_bucket(self, bucket: str, key: str, limit: int | None) -> Iterator[ListingPage]:
        """List by key; `key` is the last key of an earlier page."""
        for objects, is_last in list_pages(self.client, bucket, key, limit):
            key = objects[-1]["Key"] if objects else key
            found = [
                (ObjectRef(bucket, item["Key"]), _info(item, int(item.get("Size", 0))))
                for item in objects
            ]
            yield ListingPage(found, len(objects), None if is_last else key)

    def _empty_range(self, ref: ObjectRef) -> S3Stream:
        """Use HEAD, because stores reject GET for an empty range."""
        try:
            response = self.client.head_object(**_pinned(ref))
        except FAILURES as error:
            raise self._explain_head(ref, error) from error
        size, _ = ranged.parse_range(response.get("ContentLength"), None, 0, None, _name(ref))
        info = _info(response, size)
        _check_pin(ref, info)
        return S3Stream(io.BytesIO(), info, 0, _name(ref))

    def _explain_head(self, ref: ObjectRef, error: Exception) -> RelayError:
        """Request a byte by GET: the response to HEAD has no body, and so no error code."""
        try:
            self.client.get_object(**_pinned(ref), Range="bytes=0-0")["Body"].close()
        except FAILURES as second:
            error = error if http_status(second) == 416 else second
        return translate(error, _name(ref))


def _pinned(ref: ObjectRef) -> dict[str, str]:
    """The request parameters that select exactly the announced bytes."""
    if not _BUCKET.fullmatch(ref.bucket):
        # An ARN or a path would send the signed request to another host or resource.
        raise PermanentFailure(
            "storage.bad_bucket",
            Localized("The name of the bucket is not valid in S3", "存储桶名称不是有效的 S3 名称"),
            Localized(
                "Use only letters, digits, dots, hyphens and underscores.",
                "只允许字母、数字、点、连字符和下划线。",
            ),
        )
    pinned = {"Bucket": ref.bucket, "Key": ref.key}
    if ref.version:
        return {**pinned, "VersionId": ref.version}
    return {**pinned, "IfMatch": f'"{ref.etag}"'} if ref.etag else pinned


def _stream(ref: ObjectRef, response: Any, start: int, end: int | None) -> S3Stream:
    headers = (response.get("ContentLength"), response.get("ContentRange"))
    size, length = ranged.parse_range(*headers, start, end, _name(ref))
    info = _info(response, size)
    _check_pin(ref, info)
    return S3Stream(response["Body"], info, length, _name(ref))


def _check_pin(ref: ObjectRef, info: ObjectInfo) -> None:
    """Compare the response with the pin as well: some stores ignore If-Match and versions."""
    if ref.etag and info.etag and ref.etag != info.etag:
        raise superseded(_name(ref))
    if ref.version and info.version and ref.version != info.version:
        raise superseded(_name(ref))


def _info(item: Any, size: int) -> ObjectInfo:
    """The metadata in a response or in an entry of a listing."""
    version = item.get("VersionId")
    modified = item.get("LastModified")
    return ObjectInfo(
        size=size,
        etag=(item.get("ETag") or "").strip('"') or None,
        version=None if version in (None, "", "null") else version,
        modified=modified.astimezone(UTC) if modified else None,
    )


def _name(ref: ObjectRef) -> str:
    return f"{ref.bucket}/{ref.key}"
