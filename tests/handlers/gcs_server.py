"""A stand-in for Cloud Storage's JSON API, Pub/Sub's REST API and Google's token endpoints.

It implements generations, ranges, paged listings, expiring tokens, long polling, acknowledgement
deadlines, and decompression of gzip unless the request accepts it.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.handlers.rest_server import RecordedRequest, Response, RestServer, as_json, ranged

_O = "/storage/v1/b/"
_KEY = rsa.generate_private_key(65537, 2048)
_generations = count(1700000000000000)


@dataclass(frozen=True)
class Stored:
    generation: int
    body: bytes
    created: datetime
    encoding: str | None = None

    def resource(self, bucket: str, name: str) -> dict[str, Any]:
        created = self.created.isoformat().replace("+00:00", "Z")
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": bucket,
            "generation": str(self.generation),
            "size": str(len(self.body)),
            "timeCreated": created,
            "updated": created,
            "etag": "CNHZkbuF/ugCEAE=",
        }


class GcsServer(RestServer):
    """`tokens`: the accepted tokens; None: no authentication. `page`: the page size."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets: dict[str, dict[str, list[Stored]]] = {}
        self.versioned: set[str] = set()
        self.tokens: set[str] | None = None
        self.page = 1000
        self.life = 3600
        self.unlisted = False
        self.waiting: list[dict[str, Any]] = []
        self.leased: dict[str, tuple[float, dict[str, Any]]] = {}
        self.deadline = 60.0
        self.hold = 30.0
        self.may_consume = True
        self.came = threading.Condition(self.lock)

    def put(self, bucket: str, name: str, body: bytes, encoding: str | None = None) -> Stored:
        kept = Stored(next(_generations), body, datetime.now(UTC), encoding)
        with self.lock:
            versions = self.buckets.setdefault(bucket, {}).setdefault(name, [])
            if bucket not in self.versioned:
                versions.clear()
            versions.append(kept)
        return kept

    def delete(self, bucket: str, name: str) -> None:
        del self.buckets[bucket][name]

    def publish(self, message: Any) -> None:
        with self.lock:
            self.waiting.append(message)
            self.came.notify_all()

    def announce(self, bucket: str, name: str, stored: Stored) -> None:
        """Publish a notification like Cloud Storage."""
        attributes = {
            "eventType": "OBJECT_FINALIZE",
            "bucketId": bucket,
            "objectId": name,
            "objectGeneration": str(stored.generation),
            "eventTime": stored.created.isoformat(),
            "payloadFormat": "JSON_API_V1",
        }
        resource = json.dumps(stored.resource(bucket, name)).encode()
        data = base64.b64encode(resource).decode()
        self.publish({"attributes": attributes, "data": data, "messageId": secrets.token_hex(8)})

    def key_file(self) -> dict[str, str]:
        """The contents of a service account's key file."""
        pem = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {
            "type": "service_account",
            "private_key_id": "key-1",
            "private_key": pem,
            "client_email": "relay@project.iam.gserviceaccount.com",
            "token_uri": f"{self.url}/token",
        }

    def answer(self, request: RecordedRequest) -> Response:
        if request.path == "/token":
            return self._by_assertion(request)
        if request.path.startswith("/computeMetadata/"):
            return self._by_machine(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens is not None and token not in self.tokens:
            return _error(401, "authError", "Invalid Credentials")
        if request.path.startswith("/v1/"):
            return self._pubsub(request)
        if request.method != "GET" or not request.path.startswith(_O):
            return Response(404, b"<html>not found", {"Content-Type": "text/html"})
        bucket, _, *name = request.segments(_O)
        if len(name) > 1:
            return Response(404, b"<html>not found", {"Content-Type": "text/html"})
        return self._object(request, bucket, name[0]) if name else self._list(request, bucket)

    def _object(self, request: RecordedRequest, bucket: str, name: str) -> Response:
        if len(name.encode()) > 1024 or not name:
            return _error(400, "invalid", "Invalid object name")
        stored = self._find(bucket, name, request.query.get("generation"))
        if stored is None:
            return _error(404, "notFound", f"No such object: {bucket}/{name}")
        if request.query.get("alt") == "media":
            return _media(request, stored)
        return as_json(stored.resource(bucket, name))

    def _find(self, bucket: str, name: str, generation: str | None) -> Stored | None:
        versions = self.buckets.get(bucket, {}).get(name, [])
        if generation is None:
            return versions[-1] if versions else None
        return next((item for item in versions if str(item.generation) == generation), None)

    def _list(self, request: RecordedRequest, bucket: str) -> Response:
        if self.unlisted:
            return _error(403, "forbidden", "no storage.objects.list access")
        if bucket not in self.buckets:
            return _error(404, "notFound", "The specified bucket does not exist.")
        query = request.query
        names = sorted(self.buckets[bucket], key=str.encode)
        names = [item for item in names if item.startswith(query.get("prefix", ""))]
        begin = base64.b64decode(query.get("pageToken", "")).decode() or query.get(
            "startOffset", ""
        )
        names = [item for item in names if item.encode() >= begin.encode()]
        size = min(int(query.get("maxResults", 1000)), self.page)
        found = [self.buckets[bucket][item][-1].resource(bucket, item) for item in names[:size]]
        page: dict[str, Any] = {"items": found} if found else {}
        if names[size:]:
            page["nextPageToken"] = base64.b64encode(names[size].encode()).decode()
        return as_json(page)

    def _pubsub(self, request: RecordedRequest) -> Response:
        path, _, method = request.path.removeprefix("/v1/").rpartition(":")
        if path != "projects/p-1/subscriptions/s-1":
            return _pubsub_error(404, "NOT_FOUND")
        if method == "testIamPermissions":
            return as_json(request.json() if self.may_consume else {})
        return self._pull(request) if method == "pull" else self._acknowledge(request)

    def _pull(self, request: RecordedRequest) -> Response:
        until = time.monotonic() + self.hold
        with self.lock:
            while not self.waiting and (left := until - time.monotonic()) > 0:
                self._give_back()
                self.came.wait(min(left, 0.05))
            most = request.json()["maxMessages"]
            taken, self.waiting = self.waiting[:most], self.waiting[most:]
            given = {secrets.token_hex(20): item for item in taken}
            end = time.monotonic() + self.deadline
            self.leased |= {ack: (end, item) for ack, item in given.items()}
        listed = [{"ackId": ack, "message": item} for ack, item in given.items()]
        return as_json({"receivedMessages": listed} if listed else {})

    def _acknowledge(self, request: RecordedRequest) -> Response:
        with self.lock:
            for ack in request.json()["ackIds"]:
                self.leased.pop(ack, None)
        return as_json({})

    def _give_back(self) -> None:
        now = time.monotonic()
        for ack, (end, message) in list(self.leased.items()):
            if end <= now:
                del self.leased[ack]
                self.waiting.append(message)

    def _by_assertion(self, request: RecordedRequest) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        try:
            claims = jwt.decode(
                form["assertion"], _KEY.public_key(), ["RS256"], audience=f"{self.url}/token"
            )
        except jwt.InvalidTokenError:
            return as_json({"error": "invalid_grant", "error_description": "Invalid JWT"}, 400)
        if form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return as_json({"error": "unsupported_grant_type"}, 400)
        assert claims["iss"] == "relay@project.iam.gserviceaccount.com"
        assert claims["scope"].startswith("https://www.googleapis.com/auth/devstorage.read_only")
        return self._granted()

    def _by_machine(self, request: RecordedRequest) -> Response:
        if request.headers.get("metadata-flavor") != "Google":
            return Response(403, b"Missing Metadata-Flavor:Google header.")
        return self._granted()

    def _granted(self) -> Response:
        token = f"ya29.{secrets.token_hex(16)}"
        with self.lock:
            self.tokens = (self.tokens or set()) | {token}
        return as_json({"access_token": token, "expires_in": self.life, "token_type": "Bearer"})


def _media(request: RecordedRequest, stored: Stored) -> Response:
    headers = {
        "X-Goog-Generation": str(stored.generation),
        "X-Goog-Stored-Content-Length": str(len(stored.body)),
        "X-Goog-Stored-Content-Encoding": stored.encoding or "identity",
        "ETag": "CNHZkbuF/ugCEAE=",
        "Last-Modified": format_datetime(stored.created.replace(microsecond=0), usegmt=True),
    }
    if stored.encoding == "gzip":
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(200, gzip.decompress(stored.body), headers)
        headers["Content-Encoding"] = "gzip"
    part = ranged(stored.body, request.headers.get("range"))
    if part is None:
        return Response(416, b"<Error>", {"Content-Range": f"bytes */{len(stored.body)}"})
    return Response(206 if part[1] else 200, part[0], {**headers, **part[1]})


def _error(status: int, reason: str, message: str) -> Response:
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return as_json({"error": {"code": status, "message": message, "errors": errors}}, status)


def _pubsub_error(status: int, name: str) -> Response:
    return as_json({"error": {"code": status, "message": "no", "status": name}}, status)
