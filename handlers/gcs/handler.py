"""Google Cloud Storage: told by Pub/Sub or Eventarc, read generation by generation.

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
from relay.handlers.gcs.errors import refusal
from relay.handlers.gcs.queue import PubSubQueue
from relay.handlers.gcs.records import events, named
from relay.handlers.gcs.settings import GcsSettings, credential
from relay.handlers.gcs.setup import setup_steps
from relay.model import Event, Localized, ObjectInfo, ObjectRef
from relay.sources import range_stream as ranged
from relay.sources.contract import PAGE
from relay.sources.errors import (
    bad_bucket,
    endless_listing,
    gone,
    no_bucket,
    not_understood,
    superseded,
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
"""Else an object that was stored with Content-Encoding: gzip is unpacked on the way, without a
length ("Transcoding of gzip-compressed files"). Others are never packed for it."""


class Handler(HttpStorage):
    """Objects by their generation: what was overwritten is gone, unless the bucket keeps versions.

    Soft deletion and folders are of no interest here.
    """

    Settings: ClassVar[type[SourceSettings]] = GcsSettings
    settings: GcsSettings

    def __init__(self, name: str, settings: GcsSettings) -> None:
        super().__init__(name, settings, credential(name, settings), refusal)

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in a message of Pub/Sub's or a CloudEvent of Eventarc's."""
        return events(record)

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> HttpStream:
        """The bytes [start, end) of the generation; without one, of the newest."""
        generation = ref.version or self._looked_up(ref).version
        ref = replace(ref, version=generation)
        if end is not None and end <= start:
            return self._nothing(ref)
        wanted = ranged.range_header(start, end)
        headers = {**_AS_STORED, "Range": wanted} if wanted else _AS_STORED
        call = StorageRequest(self._object(ref, alt="media"), headers=headers, accepted=(404, 416))
        answer = self.api.stream(call, object_name(ref))
        if answer.status_code == 416:
            return self._nothing(ref)
        if answer.status_code == 404:
            raise self._missing(ref)
        return open_stream(
            answer, object_name(ref), (start, end), lambda size: _told(ref, answer, size)
        )

    def list_bucket(self, bucket: str, place: str, limit: int | None) -> Iterator[ListingPage]:
        """By key; `place` is the key after which it goes on."""
        fields = "nextPageToken,items(name,generation,size,timeCreated)"
        where = {"startOffset": place} if place else {}
        while True:
            size = PAGE if limit is None else min(PAGE, max(limit, 1))
            page = self._page(bucket, {"maxResults": str(size), "fields": fields, **where})
            try:
                found = [_listed(bucket, one) for one in page.get("items") or ()]
            except Unreadable as error:
                raise not_understood(bucket, error.code) from error
            # The key that it starts at was listed before.
            found = [one for one in found if one[0].key != place]
            limit = None if limit is None else limit - len(found)
            place = found[-1][0].key if found else place
            token = page.get("nextPageToken")
            yield ListingPage(found, len(found), place if token else None)
            if not token:
                return
            if where.get("pageToken") == token:
                raise endless_listing(bucket)
            where = {"pageToken": token}

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def event_for(self, ref: ObjectRef, info: ObjectInfo) -> Event:
        event = super().event_for(ref, info)
        return named(event.object, event.type, event.time)

    def queue(self) -> PubSubQueue | None:
        """The subscription of `subscription`."""
        wanted = self.settings
        if not wanted.subscription:
            return None
        return PubSubQueue(self.name, wanted.pubsub_url, wanted.subscription, self.credential)

    def _bucket(self, bucket: str) -> str:
        if not _BUCKET.fullmatch(bucket):
            raise bad_bucket()
        return f"{self.settings.endpoint_url}/storage/v1/b/{path_segment(bucket)}/o"

    def _object(self, ref: ObjectRef, **query: str) -> str:
        if ref.version:
            if not _GENERATION.fullmatch(ref.version):
                raise superseded(object_name(ref))  # a version of another kind of storage
            query["generation"] = ref.version
        return f"{self._bucket(ref.bucket)}/{path_segment(ref.key)}?{urlencode(query)}"

    def _page(self, bucket: str, query: Mapping[str, str]) -> dict[str, Any]:
        call = StorageRequest(f"{self._bucket(bucket)}?{urlencode(query)}", accepted=(404,))
        answer = self.api.send(call, bucket)
        if answer.status_code == 404:
            raise no_bucket(bucket, "404")
        return read_json(answer, bucket)

    def _looked_up(self, ref: ObjectRef) -> ObjectInfo:
        """What the object's resource says, without its bytes."""
        call = StorageRequest(self._object(ref, fields="generation,size,updated"), accepted=(404,))
        answer = self.api.send(call, object_name(ref))
        if answer.status_code == 404:
            raise self._missing(ref)
        found = read_json(answer, object_name(ref))
        try:
            return ObjectInfo(
                size=count(found, "size"),
                version=str(count(found, "generation")),
                modified=time_or_none(found, "updated"),
            )
        except Unreadable as error:
            raise not_understood(object_name(ref), error.code) from error

    def _nothing(self, ref: ObjectRef) -> HttpStream:
        return HttpStream(io.BytesIO(), self._looked_up(ref), 0, object_name(ref))

    def _missing(self, ref: ObjectRef) -> RelayError:
        """Why there is no such object: another generation lives, or none, or there is no bucket,
        which a look at the first object of that prefix tells at once."""
        query = {"prefix": ref.key, "maxResults": "1", "fields": "items(name)"}
        try:
            listed = self._page(ref.bucket, query).get("items") or [{}]
        except PermanentFailure as failure:
            if failure.code == "storage.no_bucket":
                return failure
            listed = [{}]  # it may not be listed
        if ref.version and listed[0].get("name") == ref.key:
            return superseded(object_name(ref))
        return gone(object_name(ref), "404")


def _told(ref: ObjectRef, answer: requests.Response, size: int) -> ObjectInfo:
    headers = answer.headers
    if headers.get("x-goog-generation", ref.version) != ref.version:
        raise superseded(object_name(ref))
    if headers.get("x-goog-stored-content-length", str(size)) != str(size):
        raise _unpacked(object_name(ref))
    return ObjectInfo(
        size, version=ref.version, modified=parse_http_date(headers.get("last-modified"))
    )


def _listed(bucket: str, resource: Any) -> tuple[ObjectRef, ObjectInfo]:
    found = resource if isinstance(resource, dict) else {}
    size, modified = count(found, "size"), time_or_none(found, "timeCreated")
    ref = ObjectRef(bucket, text(found, "name"))
    return ref, ObjectInfo(size, version=str(count(found, "generation")), modified=modified)


def _unpacked(thing: str) -> PermanentFailure:
    return PermanentFailure(
        "storage.unpacked",
        Localized(
            f"{thing} does not come as it is stored, but unpacked",
            f"{thing} 返回的不是存储的原样字节，而是解压后的内容",
        ),
        Localized(
            "A proxy takes Accept-Encoding away; or upload it without Content-Encoding: gzip.",
            "代理去掉了 Accept-Encoding；或请在上传时不要设置 Content-Encoding: gzip。",
        ),
    )
