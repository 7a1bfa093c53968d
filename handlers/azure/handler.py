"""Azure Blob Storage: told by Event Grid, read and listed by its REST API.

Wire format: Azure Blob Storage REST API, Get Blob, Get Blob Properties, List Blobs.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import unquote, urlencode
from xml.etree.ElementTree import Element

import requests

from relay.config.load import SourceSettings
from relay.handlers.azure.auth import Sas, stamped
from relay.handlers.azure.errors import on_its_way, refusal
from relay.handlers.azure.queue import StorageQueue
from relay.handlers.azure.records import events, unquoted
from relay.handlers.azure.settings import AzureSettings, credential
from relay.handlers.azure.setup import setup_steps
from relay.handlers.azure.xml import read_xml, text_in
from relay.model import Event, Localized, ObjectInfo, ObjectRef
from relay.sources import range_stream as ranged
from relay.sources.contract import PAGE
from relay.sources.errors import bad_bucket, bad_key, endless_listing, not_understood, superseded
from relay.sources.http_storage import (
    HttpStorage,
    HttpStream,
    object_name,
    open_stream,
    parse_http_date,
)
from relay.sources.listing import ListingPage
from relay.sources.rest import StorageRequest, path_segment
from relay.sources.setup.steps import SetupContext, Step

_LENGTH = re.compile("[0-9]{1,19}")
_ETAG = re.compile(r"[\x21\x23-\x7e]{1,200}")
_CONTAINER = re.compile(r"[a-z0-9][a-z0-9-]{2,62}|\$root|\$web")


class Handler(HttpStorage):
    """Blobs by their ETag, which every change makes a new one of. A bucket is a container."""

    Settings: ClassVar[type[SourceSettings]] = AzureSettings
    settings: AzureSettings

    def __init__(self, name: str, settings: AzureSettings) -> None:
        super().__init__(name, settings, credential(settings), refusal)

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in an event of Event Grid's, in either schema."""
        return events(record, renames=self.settings.renames)

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> HttpStream:
        """The bytes [start, end), pinned to the ETag."""
        if end is not None and end <= start:
            return self._nothing(ref)
        wanted = ranged.range_header(start, end)
        call = self._asked(ref, "GET", {"Range": wanted} if wanted else {})
        answer = self.api.stream(call, object_name(ref))
        if answer.status_code == 416:
            return self._nothing(ref)
        return open_stream(
            answer, object_name(ref), (start, end), lambda size: _told(ref, answer, size)
        )

    def list_bucket(self, bucket: str, place: str, limit: int | None) -> Iterator[ListingPage]:
        """By name; `place` is the marker that the page before gave."""
        is_old = bool(place)
        while True:
            answer = self._page(bucket, place, limit, accepted=(400,) if is_old else ())
            if answer.status_code == 400:  # a marker of long ago: from the beginning, then
                is_old, place = False, ""
                continue
            root, before = read_xml(answer, bucket), place
            blobs, place = root.findall("Blobs/Blob"), text_in(root, "NextMarker")
            limit = None if limit is None else limit - len(blobs)
            found = [_listed(bucket, one) for one in blobs if _is_blob(one)]
            yield ListingPage(found, len(blobs), place or None)
            if not place:
                return
            if place == before:
                raise endless_listing(bucket)
            is_old = False

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def event_for(self, ref: ObjectRef, info: ObjectInfo) -> Event:
        """As an announcement without a sequencer has it."""
        return replace(super().event_for(ref, info), identity=f"etag:{info.etag}")

    def queue(self) -> StorageQueue | None:
        """The queue of `queue_url`."""
        url, sas = self.settings.queue_url, self.settings.queue_sas_token
        if not url:
            return None
        who = Sas(sas.get_secret_value()) if sas else self.credential
        return StorageQueue(self.name, url, who)

    def _container(self, bucket: str) -> str:
        if not _CONTAINER.fullmatch(bucket):
            raise bad_bucket()
        return f"{self.settings.blobs}/{bucket}"

    def _asked(self, ref: ObjectRef, method: str, headers: Mapping[str, str]) -> StorageRequest:
        if ref.etag and not _ETAG.fullmatch(ref.etag):
            raise superseded(
                object_name(ref)
            )  # no blob has such a one, and no header could hold it
        pin = {"If-Match": f'"{ref.etag}"'} if ref.etag else {}
        url = f"{self._container(ref.bucket)}/{_path(ref.key)}"
        return StorageRequest(url, method, stamped({**headers, **pin}), accepted=(416,))

    def _page(
        self, bucket: str, place: str, limit: int | None, accepted: tuple[int, ...]
    ) -> requests.Response:
        size = PAGE if limit is None else min(PAGE, max(limit, 1))
        asked = {"restype": "container", "comp": "list", "maxresults": str(size)}
        query = urlencode({**asked, "marker": place} if place else asked)
        url = f"{self._container(bucket)}?{query}"
        return self.api.send(StorageRequest(url, headers=stamped({}), accepted=accepted), bucket)

    def _nothing(self, ref: ObjectRef) -> HttpStream:
        """An empty range, which the store refuses: the blob is only looked at."""
        answer = self.api.send(self._asked(ref, "HEAD", {}), object_name(ref))
        info = open_stream(
            answer, object_name(ref), (0, None), lambda size: _told(ref, answer, size)
        ).info
        return HttpStream(io.BytesIO(), info, 0, object_name(ref))


def _path(key: str) -> str:
    """A blob's name in an address. Azure takes . and .. out of names, encoded or not, and takes a
    backslash for a slash: asking for such a name would find another blob."""
    segments = key.split("/")
    if {".", ".."} & set(segments) or "\\" in key:
        raise bad_key(Localized("it holds a step (. or ..) or a backslash", "含有 .、.. 或反斜杠"))
    return "/".join(path_segment(one) if one else "" for one in segments) or path_segment(key)


def _told(ref: ObjectRef, answer: requests.Response, size: int) -> ObjectInfo:
    headers = answer.headers
    etag = unquoted(headers.get("ETag"))
    if ref.etag and etag != ref.etag:
        raise superseded(object_name(ref))
    if headers.get("x-ms-copy-status") == "pending":
        raise on_its_way(object_name(ref), "pending")
    return ObjectInfo(size, etag, modified=parse_http_date(headers.get("Last-Modified")))


def _is_blob(listed: Element) -> bool:
    """Data Lake lists directories as well."""
    return text_in(listed, "Properties", "ResourceType") != "directory"


def _listed(bucket: str, listed: Element) -> tuple[ObjectRef, ObjectInfo]:
    name, length = listed.find("Name"), text_in(listed, "Properties", "Content-Length")
    key = (name.text or "") if name is not None else ""
    if name is not None and name.get("Encoded") == "true":  # what XML cannot hold
        key = unquote(key)
    if not key or not _LENGTH.fullmatch(length):
        raise not_understood(bucket, "200")
    etag = unquoted(text_in(listed, "Properties", "Etag"))
    modified = parse_http_date(text_in(listed, "Properties", "Last-Modified"))
    return ObjectRef(bucket, key), ObjectInfo(int(length), etag, modified=modified)
