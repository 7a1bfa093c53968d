"""S3Storage: what every S3-compatible storage shares: ranged pinned reads, listing, its queue."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from relay.aws import (
    FAILURES,
    AwsSettings,
    checked_url,
    client,
    cut,
    region_of,
    status_of,
    superseded,
    translate,
)
from relay.errors import ConfigError, PermanentFailure, TemporaryFailure
from relay.handler import Queue, StorageHandler
from relay.model import Event, ObjectInfo, ObjectRef, Text
from relay.s3_records import KeyEncoding
from relay.settings import SourceSettings
from relay.sqs import SqsQueue
from relay.units import Duration

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19})")

Address = Annotated[str, AfterValidator(checked_url)]


class S3Settings(AwsSettings):
    """The keys of a source that speaks S3."""

    endpoint_url: Address | None = Field(None, description="the store's address; without it, AWS")
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        "auto", description="where the bucket stands in a URL; MinIO and Ceph: path, OBS: virtual"
    )
    key_encoding: KeyEncoding = Field(
        "auto", description="how keys stand in notifications: url-encoded, raw, by who sent it"
    )
    sqs_queue_url: Address | None = Field(
        None, description="the queue to pull notifications from, beside the hook or instead"
    )
    scan_every: Duration = Field(
        timedelta(0), description="how often to look for what nobody announced; 0: never"
    )

    @model_validator(mode="after")
    def _scans_name_their_buckets(self) -> Self:
        if self.scan_every and not self.buckets:
            raise ValueError("scan_every needs buckets: name those that are to be listed")
        return self


class _Body(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class S3Stream:
    """Bytes of one answer, held against the length that it announced."""

    def __init__(self, body: _Body, info: ObjectInfo, length: int, name: str) -> None:
        self.info = info
        self._body = body
        self._left = length
        self._name = name

    def read(self, size: int, /) -> bytes:
        if size <= 0 or not self._left:
            return b""
        try:
            part = self._body.read(min(size, self._left))
        except FAILURES as error:
            raise cut(self._name) from error
        if not part:
            raise cut(self._name)
        self._left -= len(part)
        return part

    def close(self) -> None:
        self._body.close()


class S3Storage(StorageHandler):
    """A storage that speaks S3. A subclass says how its records read."""

    Settings: ClassVar[type[SourceSettings]] = S3Settings
    settings: S3Settings

    def __init__(self, name: str, settings: S3Settings) -> None:
        super().__init__(name, settings)
        region = settings.region or region_of(urlsplit(settings.endpoint_url or "").hostname or "")
        self.client = client(
            "s3",
            name,
            settings,
            endpoint_url=settings.endpoint_url,
            region_name=region or ("us-east-1" if settings.endpoint_url else None),
            s3={"addressing_style": settings.addressing_style},
        )

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> S3Stream:
        """The bytes [start, end), pinned to the version, else to the etag."""
        if end is not None and end <= start:
            return self._nothing(ref)
        wanted = {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        if start == 0 and end is None:
            wanted = {}
        try:
            answer = self.client.get_object(**_pinned(ref), **wanted)
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
        if not self.settings.buckets:
            raise ConfigError(
                f"sources.{self.name}.buckets",
                "The source has no buckets to list",
                'Name them, such as buckets = ["exports"].',
            )
        for bucket in self.settings.buckets:
            for listed in self._listed(bucket):
                info = _info(listed, int(listed.get("Size", 0)))
                if since is None or info.modified is None or info.modified >= since:
                    yield self.event_for(ObjectRef(bucket, listed["Key"]), info)

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

    def _listed(self, bucket: str) -> Iterator[Any]:
        pages = iter(self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket))
        while True:
            try:
                page = next(pages, None)
            except FAILURES as error:
                raise translate(error, bucket) from error
            if page is None:
                return
            yield from page.get("Contents", ())

    def _nothing(self, ref: ObjectRef) -> S3Stream:
        """An empty range: of a range request stores refuse it, so the object is only looked at."""
        try:
            answer = self.client.head_object(**_pinned(ref))
        except FAILURES as error:
            raise translate(error, _name(ref)) from error
        info = _info(answer, _length(ref, answer))
        _same(ref, info)
        return S3Stream(io.BytesIO(), info, 0, _name(ref))


def _pinned(ref: ObjectRef) -> dict[str, str]:
    if not _BUCKET.fullmatch(ref.bucket):
        # An ARN or a path here would lead the signed request to another host or resource.
        raise PermanentFailure(
            "storage.bad_bucket",
            Text("The name of the bucket is not one of S3", "存储桶名称不是有效的 S3 名称"),
            Text(
                "Letters, digits, dots, hyphens and underscores are right.",
                "只允许字母、数字、点、连字符和下划线。",
            ),
        )
    pinned = {"Bucket": ref.bucket, "Key": ref.key}
    if ref.version:
        return {**pinned, "VersionId": ref.version}
    return {**pinned, "IfMatch": f'"{ref.etag}"'} if ref.etag else pinned


def _stream(ref: ObjectRef, answer: Any, start: int, end: int | None) -> S3Stream:
    size = length = _length(ref, answer)
    if given := _RANGE.fullmatch(answer.get("ContentRange") or ""):
        first, last, size = (int(number) for number in given.groups())
        if first != start or last - first + 1 != length or (end and last >= end):
            raise _no_ranges(ref)
    elif start:
        raise _no_ranges(ref)
    info = _info(answer, size)
    _same(ref, info)
    # A store without ranges sends the whole: as much as was asked for is read of it.
    wanted = min(size, size if end is None else end) - start
    if wanted > length:
        raise cut(_name(ref))
    return S3Stream(answer["Body"], info, wanted, _name(ref))


def _length(ref: ObjectRef, answer: Any) -> int:
    length = answer.get("ContentLength")
    if not isinstance(length, int) or length < 0:
        raise TemporaryFailure(
            "storage.no_length",
            Text(
                f"The store does not say how long {_name(ref)} is",
                f"存储未告知 {_name(ref)} 的长度",
            ),
            Text(
                "It, or a proxy before it, sends no Content-Length; Relay needs that.",
                "存储或其前置代理未发送 Content-Length, 而 Relay 需要它。",
            ),
        )
    return length


def _no_ranges(ref: ObjectRef) -> PermanentFailure:
    return PermanentFailure(
        "storage.no_ranges",
        Text(
            f"The store answers with other bytes of {_name(ref)} than were asked for",
            f"存储返回的不是所请求的 {_name(ref)} 字节范围",
        ),
        Text(
            "It, or a proxy before it, does not honour Range; Relay needs that.",
            "存储或其前置代理不支持 Range 请求, 而 Relay 需要它。",
        ),
    )


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
