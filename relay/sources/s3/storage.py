"""S3Storage: what every S3-compatible storage shares: ranged pinned reads, listing, its queue."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from relay.config import validators as rules
from relay.config.load import SourceSettings
from relay.config.scans import ScannedSettings
from relay.errors import PermanentFailure
from relay.model import Event, Localized, ObjectInfo, ObjectRef, ScanCursor
from relay.sources import range_stream as ranged
from relay.sources.contract import Queue, ScanPage, StorageHandler
from relay.sources.errors import superseded
from relay.sources.listing import ListingPage, bucket_pages
from relay.sources.s3.client import FAILURES, AwsSettings, client, region_of, status_of, translate
from relay.sources.s3.listing import listing
from relay.sources.s3.records import KeyEncoding
from relay.sources.s3.sqs import SqsQueue

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")

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
    """The keys of a source that speaks S3."""

    endpoint_url: Address | None = Field(None, description="the store's address; without it, AWS")
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", description="where the bucket stands in a URL; MinIO and Ceph: path, OBS: virtual"
    )
    key_encoding: KeyEncoding = Field(
        "auto", description="how keys stand in notifications: url-encoded, raw, by who sent it"
    )
    sqs_queue_url: QueueAddress | None = Field(
        None, description="the queue to pull notifications from, beside the hook or instead"
    )

    @property
    def address(self) -> str | None:
        """Where the store is; None: it is AWS."""
        return self.endpoint_url


class S3Stream(ranged.RangeStream):
    """Bytes of one answer of the SDK's."""

    failures = FAILURES


class S3Storage(StorageHandler):
    """A storage that speaks S3. A subclass says how its records read."""

    Settings: ClassVar[type[SourceSettings]] = S3Settings
    settings: S3Settings

    def __init__(self, name: str, settings: S3Settings) -> None:
        super().__init__(name, settings)
        address = settings.address
        region = settings.region or region_of(urlsplit(address or "").hostname or "")
        self.client = client(
            "s3",
            name,
            settings,
            endpoint_url=address,
            region_name=region or ("us-east-1" if address else None),
            s3={"addressing_style": settings.addressing_style},
        )

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> S3Stream:
        """The bytes [start, end), pinned to the version, else to the etag."""
        if end is not None and end <= start:
            return self._nothing(ref)
        wanted = ranged.range_header(start, end)
        try:
            answer = self.client.get_object(**_pinned(ref), **({"Range": wanted} if wanted else {}))
        except FAILURES as error:
            if status_of(error) == 416:
                return self._nothing(ref)
            raise translate(error, _name(ref)) from error
        try:
            return _stream(ref, answer, start, end)
        except BaseException:
            answer["Body"].close()
            raise

    def scan(self, since: datetime | None = None) -> Iterator[Event]:
        """The objects of every bucket in `buckets`, by key, a page at a time."""
        return (event for page in self.scan_pages(since) for event in page.events)

    def scan_pages(
        self,
        since: datetime | None = None,
        after: ScanCursor | None = None,
        limit: int | None = None,
    ) -> Iterator[ScanPage]:
        """The same; each page is one call, and one of a whole bucket's is never asked for twice."""
        return bucket_pages(self, self._list_bucket, since, after, limit)

    def queue(self) -> Queue | None:
        """The SQS queue of `sqs_queue_url`."""
        url = self.settings.sqs_queue_url
        return SqsQueue(self.name, url, self.settings) if url else None

    def ready(self) -> str | None:
        """Lists one key of each bucket, and asks the queue for its length."""
        tried = [f"lists {bucket}" for bucket in self.settings.buckets if self._first(bucket)]
        if self.settings.sqs_queue_url:
            queue = SqsQueue(self.name, self.settings.sqs_queue_url, self.settings)
            try:
                tried.append(f"{queue.length()} messages wait in the queue")
            finally:
                queue.close()
        return ", ".join(tried) or None

    def close(self) -> None:
        self.client.close()

    def _first(self, bucket: str) -> bool:
        try:
            self.client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        except FAILURES as error:
            raise translate(error, bucket) from error
        return True

    def _list_bucket(self, bucket: str, key: str, limit: int | None) -> Iterator[ListingPage]:
        """By key; `key` is the one after which it goes on."""
        for listed, is_last in listing(self.client, bucket, key, limit):
            key = listed[-1]["Key"] if listed else key
            found = [
                (ObjectRef(bucket, one["Key"]), _info(one, int(one.get("Size", 0))))
                for one in listed
            ]
            yield ListingPage(found, len(listed), None if is_last else key)

    def _nothing(self, ref: ObjectRef) -> S3Stream:
        """An empty range: of a range request stores refuse it, so the object is only looked at."""
        try:
            answer = self.client.head_object(**_pinned(ref))
        except FAILURES as error:
            raise translate(error, _name(ref)) from error
        size, _ = ranged.parse_range(answer.get("ContentLength"), None, 0, None, _name(ref))
        info = _info(answer, size)
        _same(ref, info)
        return S3Stream(io.BytesIO(), info, 0, _name(ref))


def _pinned(ref: ObjectRef) -> dict[str, str]:
    if not _BUCKET.fullmatch(ref.bucket):
        # An ARN or a path here would lead the signed request to another host or resource.
        raise PermanentFailure(
            "storage.bad_bucket",
            Localized("The name of the bucket is not one of S3", "存储桶名称不是有效的 S3 名称"),
            Localized(
                "Letters, digits, dots, hyphens and underscores are right.",
                "只允许字母、数字、点、连字符和下划线。",
            ),
        )
    pinned = {"Bucket": ref.bucket, "Key": ref.key}
    if ref.version:
        return {**pinned, "VersionId": ref.version}
    return {**pinned, "IfMatch": f'"{ref.etag}"'} if ref.etag else pinned


def _stream(ref: ObjectRef, answer: Any, start: int, end: int | None) -> S3Stream:
    said = (answer.get("ContentLength"), answer.get("ContentRange"))
    size, wanted = ranged.parse_range(*said, start, end, _name(ref))
    info = _info(answer, size)
    _same(ref, info)
    return S3Stream(answer["Body"], info, wanted, _name(ref))


def _same(ref: ObjectRef, info: ObjectInfo) -> None:
    """Some stores ignore If-Match and versions: what they answered with is compared as well."""
    if ref.etag and info.etag and ref.etag != info.etag:
        raise superseded(_name(ref))
    if ref.version and info.version and ref.version != info.version:
        raise superseded(_name(ref))


def _info(answer: Any, size: int) -> ObjectInfo:
    version = answer.get("VersionId")
    modified = answer.get("LastModified")
    return ObjectInfo(
        size=size,
        etag=(answer.get("ETag") or "").strip('"') or None,
        version=None if version in (None, "", "null") else version,
        modified=modified.astimezone(UTC) if modified else None,
    )


def _name(ref: ObjectRef) -> str:
    return f"{ref.bucket}/{ref.key}"
