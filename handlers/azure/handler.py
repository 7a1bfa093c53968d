"""Azure Blob Storage: events through Event Grid, read and listed by the REST API.

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
from relay.handlers.azure.auth import Sas, with_version
from relay.handlers.azure.errors import not_ready, refusal
from relay.handlers.azure.queue import StorageQueue
from relay.handlers.azure.records import parse_events, strip_quotes
from relay.handlers.azure.settings import AzureSettings, credential
from relay.handlers.azure.setup import setup_steps
from relay.handlers.azure.xml import child_text, read_xml
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
    """Blobs by ETag, which changes with every write. A bucket is a container."""

    Settings: ClassVar[type[SourceSettings]] = AzureSettings
    settings: AzureSettings
    queue_settings: ClassVar[tuple[str, ...]] = ("queue_url",)

    def __init__(self, name: str, settings: AzureSettings) -> None:
        super().__init__(name, settings, credential(settings), refusal)

    def parse(self, record: Mapping[str, Any]) -> Iterator[Event]:
        """The event in an Event Grid event of either schema."""
        return parse_events(record, renames=self.settings.renames)

    def open(self, ref: ObjectRef, start: int = 0, end: int | None = None) -> HttpStream:
        """The bytes [start, end), pinned to the ETag."""
        if end is not None and end <= start:
            return self._empty_range(ref)
        range_ = ranged.range_header(start, end)
        request = self._blob_request(ref, "GET", {"Range": range_} if range_ else {})
        response = self.api.stream(request, object_name(ref))
        if response.status_code == 416:
            return self._empty_range(ref)
        return _stream(ref, response, start, end)

    def list_bucket(self, bucket: str, place: str, limit: int | None) -> Iterator[ListingPage]:
        """List by name; `place` is the marker in the previous page."""
        is_resumed = bool(place)
        while True:
            response = self._page(bucket, place, limit, accepted=(400,) if is_resumed else ())
            if response.status_code == 400:  # an expired marker: start from the beginning
                is_resumed, place = False, ""
                continue
            root, previous = read_xml(response, bucket), place
            entries, place = root.findall("Blobs/Blob"), child_text(root, "NextMarker")
            limit = None if limit is None else limit - len(entries)
            blobs = [_parse_entry(bucket, entry) for entry in entries if _is_blob(entry)]
            yield ListingPage(blobs, len(entries), place or None)
            if not place:
                return
            if place == previous:
                raise endless_listing(bucket)
            is_resumed = False

    def setup(self, context: SetupContext) -> Iterator[Step]:
        return setup_steps(context)

    def event_for(self, ref: ObjectRef, info: ObjectInfo) -> Event:
        """The same event as that of a notification without a sequencer."""
        return replace(super().event_for(ref, info), identity=f"etag:{info.etag}")

    def queue(self) -> StorageQueue | None:
        """The queue of `queue_url`."""
        url, sas = self.settings.queue_url, self.settings.queue_sas_token
        if not url:
            return None
        queue_credential = Sas(sas.get_secret_value()) if sas else self.credential
        return StorageQueue(self.name, url, queue_credential)

    def _container_url(self, bucket: str) -> str:
        if not _CONTAINER.fullmatch(bucket):
            raise bad_bucket()
        return f"{self.settings.blobs}/{bucket}"

    def _blob_request(
        self, ref: ObjectRef, method: str, headers: Mapping[str, str]
    ) -> StorageRequest:
        if ref.etag and not _ETAG.fullmatch(ref.etag):
            raise superseded(object_name(ref))  # not an ETag of Azure, nor a valid header
        pin = {"If-Match": f'"{ref.etag}"'} if ref.etag else {}
        url = f"{self._container_url(ref.bucket)}/{_path(ref.key)}"
        return StorageRequest(url, method, with_version({**headers, **pin}), accepted=(416,))

    def _page(
        self, bucket: str, place: str, limit: int | None, accepted: tuple[int, ...]
    ) -> requests.Response:
        size = PAGE if limit is None else min(PAGE, max(limit, 1))
        query = {"restype": "container", "comp": "list", "maxresults": str(size)}
        query |= {"marker": place} if place else {}
        url = f"{self._container_url(bucket)}?{urlencode(query)}"
        request = StorageRequest(url, headers=with_version({}), accepted=accepted)
        return self.api.send(request, bucket)

    def _empty_range(self, ref: ObjectRef) -> HttpStream:
        """Use HEAD, because Azure rejects GET for an empty range."""
        response = self.api.send(self._blob_request(ref, "HEAD", {}), object_name(ref))
        info = _stream(ref, response, 0, None).info
        return HttpStream(io.BytesIO(), info, 0, object_name(ref))


def _path(key: str) -> str:
    """The blob's name in a URL. Azure resolves . and .. in names, encoded or not, and treats a
    backslash as a slash, so a request for such a name would find another blob."""
    segments = key.split("/")
    if {".", ".."} & set(segments) or "\\" in key:
        raise bad_key(Localized("it contains . or .. or a backslash", "含有 .、.. 或反斜杠"))
    encoded = (path_segment(segment) if segment else "" for segment in segments)
    return "/".join(encoded) or path_segment(key)


def _stream(ref: ObjectRef, response: requests.Response, start: int, end: int | None) -> HttpStream:
    return open_stream(
        response, object_name(ref), (start, end), lambda size: _info(ref, response, size)
    )


def _info(ref: ObjectRef, response: requests.Response, size: int) -> ObjectInfo:
    headers = response.headers
    etag = strip_quotes(headers.get("ETag"))
    if ref.etag and etag != ref.etag:
        raise superseded(object_name(ref))
    if headers.get("x-ms-copy-status") == "pending":
        raise not_ready(object_name(ref), "pending")
    return ObjectInfo(size, etag, modified=parse_http_date(headers.get("Last-Modified")))


def _is_blob(entry: Element) -> bool:
    """Whether an entry is a blob; Data Lake also lists directories."""
    return child_text(entry, "Properties", "ResourceType") != "directory"


def _parse_entry(bucket: str, entry: Element) -> tuple[ObjectRef, ObjectInfo]:
    name, length = entry.find("Name"), child_text(entry, "Properties", "Content-Length")
    key = (name.text or "") if name is not None else ""
    if name is not None and name.get("Encoded") == "true":  # not valid in XML
        key = unquote(key)
    if not key or not _LENGTH.fullmatch(length):
        raise not_understood(bucket, "200")
    etag = strip_quotes(child_text(entry, "Properties", "Etag"))
    modified = parse_http_date(child_text(entry, "Properties", "Last-Modified"))
    return ObjectRef(bucket, key), ObjectInfo(int(length), etag, modified=modified)
