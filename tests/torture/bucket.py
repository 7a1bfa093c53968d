"""A small S3 server with the calls that the handler uses: 0.3 ms per call, where moto needs 5 ms.

It supports versions, ranges, If-Match and ListObjectsV2 with pages, and keeps objects in memory. It
does not check signatures; the tests of the handler do that with moto.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import parse_qs, quote_plus, unquote
from xml.sax.saxutils import escape

from relay.testing.sandbox.server import LoopbackServer

NAME = "exports"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
Start = Callable[[str, list[tuple[str, str]]], object]


@dataclass(frozen=True, slots=True)
class Version:
    """An object version. `sequence` is the upload order."""

    key: str
    id: str
    etag: str
    body: bytes
    sequence: int
    modified: datetime

    def record(self) -> dict[str, Any]:
        """Return the S3 notification of this upload."""
        s3_object = {
            "key": quote_plus(self.key, safe="/"),
            "size": len(self.body),
            "eTag": self.etag,
            "sequencer": f"{self.sequence:018X}",
        }
        if self.id:
            s3_object["versionId"] = self.id
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": self.modified.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": NAME}, "object": s3_object},
        }
        return {"Records": [record]}


class Bucket:
    """Serves at `url` inside the context. `calls` counts requests: get, head, list.

    `versioned`: keeps every version; otherwise an upload replaces the object. `on_get` is called
    with the key before each response. Objects with a key in `hidden` are answered as missing, those
    in `denied` as 403, as long as the key is in the set.
    """

    def __init__(self, *, versioned: bool = True) -> None:
        self.versioned = versioned
        self.calls: Counter[str] = Counter()
        self.on_get: Callable[[str], None] = lambda _: None
        self.hidden: set[str] = set()
        self.denied: set[str] = set()
        self._objects: dict[str, list[Version]] = {}
        self._lock = threading.Lock()
        self._sequence = 0
        self._server = LoopbackServer(self._answer)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return self._server.url

    def put(self, key: str, body: bytes) -> Version:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        with self._lock:
            self._sequence += 1
            number = self._sequence
            now = datetime.now(UTC)
            name = f"v{number:08}" if self.versioned else ""
            version = Version(key, name, etag, body, number, now)
            kept = self._objects.get(key, []) if self.versioned else []
            self._objects[key] = [*kept, version]
        return version

    def remove(self, key: str) -> None:
        with self._lock:
            del self._objects[key]

    def has(self, version: Version) -> bool:
        """Return whether the bucket holds this version."""
        with self._lock:
            return version in self._objects.get(version.key, ())

    def serves(self, version: Version) -> bool:
        """Return whether the version can be read."""
        return self.has(version) and version.key not in self.hidden | self.denied

    def _answer(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        query = {
            name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()
        }
        _, _, key = unquote(environ["RAW_URI"].partition("?")[0]).lstrip("/").partition("/")
        method = environ["REQUEST_METHOD"]
        self.calls["list" if not key else method.lower()] += 1
        if not key:
            return _respond(start, 200, self._list(query), "application/xml")
        self.on_get(key)
        with self._lock:
            versions = [] if key in self.hidden else list(self._objects.get(key, ()))
        if key in self.denied:
            return _error(start, 403, "AccessDenied", method)
        version_id = query.get("versionId")
        found = [version for version in versions if version_id in (None, version.id)]
        if not found:
            return _error(start, 404, "NoSuchVersion" if version_id else "NoSuchKey", method)
        if_match = environ.get("HTTP_IF_MATCH", "").strip('"')
        if if_match and if_match != found[-1].etag:
            return _error(start, 412, "PreconditionFailed", method)
        return _object(start, found[-1], environ.get("HTTP_RANGE", ""), method)

    def _list(self, query: dict[str, str]) -> bytes:
        after = query.get("continuation-token") or query.get("start-after") or ""
        most = int(query.get("max-keys", "1000"))
        with self._lock:
            newest = sorted((k, v[-1]) for k, v in self._objects.items() if k > after)
        page, more = newest[:most], len(newest) > most
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(version.body)}</Size>"
            f'<ETag>"{version.etag}"</ETag>'
            f"<LastModified>{version.modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified></Contents>"
            for key, version in page
        )
        last = escape(page[-1][0]) if page else ""
        token = f"<NextContinuationToken>{last}</NextContinuationToken>"
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{NAME}</Name><KeyCount>{len(page)}</KeyCount>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token if more else ''}{rows}"
            "</ListBucketResult>"
        ).encode()


def _object(start: Start, version: Version, range_header: str, method: str) -> Iterable[bytes]:
    body, status = version.body, 200
    headers = [
        ("ETag", f'"{version.etag}"'),
        ("Last-Modified", format_datetime(version.modified, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", "application/zip"),
    ]
    if version.id:
        headers.append(("x-amz-version-id", version.id))
    if part := _RANGE.fullmatch(range_header):
        first = int(part[1])
        last = min(int(part[2]), len(body) - 1) if part[2] else len(body) - 1
        if first >= len(body):
            return _error(start, 416, "InvalidRange", method)
        headers.append(("Content-Range", f"bytes {first}-{last}/{len(body)}"))
        body, status = body[first : last + 1], 206
    start(f"{status} OK", [*headers, ("Content-Length", str(len(body)))])
    return [] if method == "HEAD" else [body]


def _error(start: Start, status: int, code: str, method: str) -> Iterable[bytes]:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return _respond(start, status, b"" if method == "HEAD" else body, "application/xml")


def _respond(start: Start, status: int, body: bytes, kind: str) -> Iterable[bytes]:
    start(f"{status} Response", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
