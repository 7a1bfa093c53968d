"""A stand-in for Cloud Storage's JSON API, Pub/Sub's REST API and Google's token endpoints.

It does as the documents say: generations, ranges, listings by page, tokens that end, a pull that
waits for messages, acknowledgement deadlines, and unpacking of gzip where that is not declined.
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

from tests.handlers.rest_server import Answer, Asked, RestServer, as_json, ranged

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
    """`tokens`: those that are believed; None: anybody is. `page`: the most in one page."""

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
        """As Cloud Storage publishes it."""
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
        """A service account's key, as Google makes the file."""
        pem = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return {
            "type": "service_account",
            "private_key_id": "key-1",
            "private_key": pem,
            "client_email": "relay@project.iam.gserviceaccount.com",
            "token_uri": f"{self.url}/token",
        }

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/token":
            return self._by_assertion(asked)
        if asked.path.startswith("/computeMetadata/"):
            return self._by_machine(asked)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens is not None and token not in self.tokens:
            return _error(401, "authError", "Invalid Credentials")
        if asked.path.startswith("/v1/"):
            return self._pubsub(asked)
        if asked.method != "GET" or not asked.path.startswith(_O):
            return Answer(404, b"<html>not found", {"Content-Type": "text/html"})
        bucket, _, *name = asked.segments(_O)
        if len(name) > 1:
            return Answer(404, b"<html>not found", {"Content-Type": "text/html"})
        return self._object(asked, bucket, name[0]) if name else self._list(asked, bucket)

    def _object(self, asked: Asked, bucket: str, name: str) -> Answer:
        if len(name.encode()) > 1024 or not name:
            return _error(400, "invalid", "Invalid object name")
        stored = self._find(bucket, name, asked.query.get("generation"))
        if stored is None:
            return _error(404, "notFound", f"No such object: {bucket}/{name}")
        if asked.query.get("alt") == "media":
            return _media(asked, stored)
        return as_json(stored.resource(bucket, name))

    def _find(self, bucket: str, name: str, generation: str | None) -> Stored | None:
        versions = self.buckets.get(bucket, {}).get(name, [])
        if generation is None:
            return versions[-1] if versions else None
        return next((one for one in versions if str(one.generation) == generation), None)

    def _list(self, asked: Asked, bucket: str) -> Answer:
        if self.unlisted:
            return _error(403, "forbidden", "no storage.objects.list access")
        if bucket not in self.buckets:
            return _error(404, "notFound", "The specified bucket does not exist.")
        query = asked.query
        names = sorted(self.buckets[bucket], key=str.encode)
        names = [one for one in names if one.startswith(query.get("prefix", ""))]
        begin = base64.b64decode(query.get("pageToken", "")).decode() or query.get(
            "startOffset", ""
        )
        names = [one for one in names if one.encode() >= begin.encode()]
        size = min(int(query.get("maxResults", 1000)), self.page)
        found = [self.buckets[bucket][one][-1].resource(bucket, one) for one in names[:size]]
        page: dict[str, Any] = {"items": found} if found else {}
        if names[size:]:
            page["nextPageToken"] = base64.b64encode(names[size].encode()).decode()
        return as_json(page)

    def _pubsub(self, asked: Asked) -> Answer:
        path, _, method = asked.path.removeprefix("/v1/").rpartition(":")
        if path != "projects/p-1/subscriptions/s-1":
            return _pubsub_error(404, "NOT_FOUND")
        if method == "testIamPermissions":
            return as_json(asked.json() if self.may_consume else {})
        return self._pull(asked) if method == "pull" else self._acknowledge(asked)

    def _pull(self, asked: Asked) -> Answer:
        until = time.monotonic() + self.hold
        with self.lock:
            while not self.waiting and (left := until - time.monotonic()) > 0:
                self._give_back()
                self.came.wait(min(left, 0.05))
            most = asked.json()["maxMessages"]
            taken, self.waiting = self.waiting[:most], self.waiting[most:]
            given = {secrets.token_hex(20): one for one in taken}
            end = time.monotonic() + self.deadline
            self.leased |= {ack: (end, one) for ack, one in given.items()}
        listed = [{"ackId": ack, "message": one} for ack, one in given.items()]
        return as_json({"receivedMessages": listed} if listed else {})

    def _acknowledge(self, asked: Asked) -> Answer:
        with self.lock:
            for ack in asked.json()["ackIds"]:
                self.leased.pop(ack, None)
        return as_json({})

    def _give_back(self) -> None:
        now = time.monotonic()
        for ack, (end, message) in list(self.leased.items()):
            if end <= now:
                del self.leased[ack]
                self.waiting.append(message)

    def _by_assertion(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
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

    def _by_machine(self, asked: Asked) -> Answer:
        if asked.headers.get("metadata-flavor") != "Google":
            return Answer(403, b"Missing Metadata-Flavor:Google header.")
        return self._granted()

    def _granted(self) -> Answer:
        token = f"ya29.{secrets.token_hex(16)}"
        with self.lock:
            self.tokens = (self.tokens or set()) | {token}
        return as_json({"access_token": token, "expires_in": self.life, "token_type": "Bearer"})


def _media(asked: Asked, stored: Stored) -> Answer:
    headers = {
        "X-Goog-Generation": str(stored.generation),
        "X-Goog-Stored-Content-Length": str(len(stored.body)),
        "X-Goog-Stored-Content-Encoding": stored.encoding or "identity",
        "ETag": "CNHZkbuF/ugCEAE=",
        "Last-Modified": format_datetime(stored.created.replace(microsecond=0), usegmt=True),
    }
    if stored.encoding == "gzip":
        if "gzip" not in asked.headers.get("accept-encoding", ""):
            return Answer(200, gzip.decompress(stored.body), headers)
        headers["Content-Encoding"] = "gzip"
    part = ranged(stored.body, asked.headers.get("range"))
    if part is None:
        return Answer(416, b"<Error>", {"Content-Range": f"bytes */{len(stored.body)}"})
    return Answer(206 if part[1] else 200, part[0], {**headers, **part[1]})


def _error(status: int, reason: str, message: str) -> Answer:
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return as_json({"error": {"code": status, "message": message, "errors": errors}}, status)


def _pubsub_error(status: int, name: str) -> Answer:
    return as_json({"error": {"code": status, "message": "no", "status": name}}, status)
