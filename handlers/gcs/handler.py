"""Google Cloud Storage: events through Pub/Sub or Eventarc, read by generation.

Wire format: Cloud Storage, JSON API v1, objects.get (also with alt=media) and objects.list.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import urlencode

import requests

from relay.config.load import SourceSettings
from relay.errors import PermanentFailure, RelayError, Unreadable
from relay.handlers.gcs.errors import is_not_found, refusal, refusal_of_container
from relay.handlers.gcs.queue import PubSubQueue
from relay.handlers.gcs.records import generation_event, parse_events
from relay.handlers.gcs.settings import GcsSettings, credential
from relay.handlers.gcs.setup import setup_steps
from relay.model import Event, Localized, ObjectInfo, ObjectRef
from relay.sources import range_stream as ranged
from relay.sources.contract import PAGE
from relay.sources.errors import (
    bad_bucket,
    endless_listing,
    gone,
    not_understood,
    superseded,
    unexplained_404,
)
from relay.sources.fields import count, text, time_or_none
from relay.sources.http_storage import (
    HttpStorage,
    HttpStream,
    object_name,
    open_stream,
    parse_http_date,
)
from relay.sources.listing import ListingPage
from relay.sources.rest import StorageRequest, path_segment, read_json
from relay.sources.setup.steps import SetupContext, Step

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")
_GENERATION = re.compile(r"[0-9]{1,19}")
_AS_STORED = {"Accept-Encoding": "gzip"}
"""Without this header, Google decompresses objects stored with Content-Encoding: gzip and sends no
length ("Transcoding of gzip-compressed files"). Other objects are not compressed."""


class Handler(HttpStorage):
    """Objects by generation. Without versioning, an overwritten generation is gone."""

    Settings: ClassVar[type[SourceSettings]] = GcsSettings
    settings: GcsSettings
    queue_settings: ClassVar[tuple[str, ...]] = ("subscription",)

    def __init__(self, name: str, settings: GcsSettings) -> None:
        super().__init__(name, settings, credential(name, settings), refusal)

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a Pub/Sub message or an Eventarc CloudEvent."""
        return parse_events(record)

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> HttpStream:
        """The bytes [start, end) of the pinned generation, or of the latest."""
        generation = ref.version or self._metadata(ref).version
        ref = replace(ref, version=generation)
        if end is not None and end <= start:
            return self._empty_range(ref)
        range_ = ranged.range_header(start, end)
        headers = {**_AS_STORED, "Range": range_} if range_ else _AS_STORED
        request = StorageRequest(
            self._object_url(ref, alt="media"), headers=headers, accepted=(404, 416)
        )
        response = self.api.stream(request, object_name(ref))
        if response.status_code == 416:
            return self._empty_range(ref)
        if response.status_code == 404:
            response.close()
            self._metadata(ref)  # Raises: only this response has an error code.
            raise unexplained_404(object_name(ref), "404")
        return open_stream(
            response, object_name(ref), (start, end), lambda size: _info(ref, response, size)
        )

    def list_bucket(self, bucket: str, place: str, limit: int | None) -> Iterator[ListingPage]:
        """List by key; `place` is the last key of an earlier page."""
        fields = "nextPageToken,items(name,generation,size,timeCreated)"
        start = {"startOffset": place} if place else {}
        while True:
            size = PAGE if limit is None else min(PAGE, max(limit, 1))
            page = self._page(bucket, {"maxResults": str(size), "fields": fields, **start})
            try:
                found = [_parse_entry(bucket, item) for item in page.get("items") or ()]
            except Unreadable as error:
                raise not_understood(bucket, error.code) from error
            # startOffset includes the last key of the earlier page.
            found = [item for item in found if item[0].key != place]
            limit = None if limit is None else limit - len(found)
            place = found[-1][0].key if found else place
            token = page.get("nextPageToken")
            yield ListingPage(found, len(found), place if token else None)
            if not token:
                return
            if start.get("pageToken") == token:
                raise endless_listing(bucket)
            start = {"pageToken": token}

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def event_for(self, ref: ObjectRef, info: ObjectInfo) -> Event:
        event = super().event_for(ref, info)
        return generation_event(event.object, event.type, event.time)

    def queue(self) -> PubSubQueue | None:
        """The subscription of `subscription`."""
        url, subscription = self.settings.pubsub_url, self.settings.subscription
        return PubSubQueue(self.name, url, subscription, self.credential) if subscription else None

    def _bucket_url(self, bucket: str) -> str:
        if not _BUCKET.fullmatch(bucket):
            raise bad_bucket()
        return f"{self.settings.endpoint_url}/storage/v1/b/{path_segment(bucket)}/o"

    def _object_url(self, ref: ObjectRef, **query: str) -> str:
        if ref.version:
            if not _GENERATION.fullmatch(ref.version):
                raise superseded(object_name(ref))  # not a generation
            query["generation"] = ref.version
        return f"{self._bucket_url(ref.bucket)}/{path_segment(ref.key)}?{urlencode(query)}"

    def _page(self, bucket: str, query: Mapping[str, str]) -> dict[str, Any]:
        request = StorageRequest(f"{self._bucket_url(bucket)}?{urlencode(query)}", accepted=(404,))
        response = self.api.send(request, bucket)
        if response.status_code == 404:
            raise refusal_of_container(response, bucket)
        return read_json(response, bucket)

    def _metadata(self, ref: ObjectRef) -> ObjectInfo:
        """Read the metadata of the object."""
        request = StorageRequest(
            self._object_url(ref, fields="generation,size,updated"), accepted=(404,)
        )
        response = self.api.send(request, object_name(ref))
        if response.status_code == 404:
            raise self._explain_missing(ref, response)
        document = read_json(response, object_name(ref))
        try:
            return ObjectInfo(
                size=count(document, "size"),
                version=str(count(document, "generation")),
                modified=time_or_none(document, "updated"),
            )
        except Unreadable as error:
            raise not_understood(object_name(ref), error.code) from error

    def _empty_range(self, ref: ObjectRef) -> HttpStream:
        return HttpStream(io.BytesIO(), self._metadata(ref), 0, object_name(ref))

    def _explain_missing(self, ref: ObjectRef, response: requests.Response) -> RelayError:
        """Distinguish a missing object, generation and bucket by listing the key as a prefix."""
        name = object_name(ref)
        if not is_not_found(response):
            return refusal(response, name)
        query = {"prefix": ref.key, "maxResults": "1", "fields": "items(name)"}
        try:
            listed = self._page(ref.bucket, query).get("items") or [{}]
        except PermanentFailure:
            listed = [{}]  # no permission to list
        if listed[0].get("name") != ref.key:
            return gone(name, "404")
        return superseded(name) if ref.version else unexplained_404(name, "404")


def _info(ref: ObjectRef, response: requests.Response, size: int) -> ObjectInfo:
    headers = response.headers
    if headers.get("x-goog-generation", ref.version) != ref.version:
        raise superseded(object_name(ref))
    if headers.get("x-goog-stored-content-length", str(size)) != str(size):
        raise _decompressed(object_name(ref))
    return ObjectInfo(
        size, version=ref.version, modified=parse_http_date(headers.get("last-modified"))
    )


def _parse_entry(bucket: str, resource: Any) -> tuple[ObjectRef, ObjectInfo]:
    entry = resource if isinstance(resource, dict) else {}
    size, modified = count(entry, "size"), time_or_none(entry, "timeCreated")
    ref = ObjectRef(bucket, text(entry, "name"))
    return ref, ObjectInfo(size, version=str(count(entry, "generation")), modified=modified)


def _decompressed(name: str) -> PermanentFailure:
    return PermanentFailure(
        "storage.unpacked",
        Localized(
            f"The response contains {name} decompressed, not as stored",
            f"{name} 返回的不是存储的原样字节，而是解压后的内容",
        ),
        Localized(
            "A proxy removes Accept-Encoding. Fix it, or upload without Content-Encoding: gzip.",
            "代理去掉了 Accept-Encoding：请修复代理，或上传时不要设置 Content-Encoding: gzip。",
        ),
    )
