"""A stand-in for Azure Blob and Queue Storage, Entra's token endpoint and the identity service.

It implements ETags and If-Match, ranges, listings by marker, Shared Key signatures, SAS, expiring
tokens, changing pop receipts, and redelivered messages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs, parse_qsl
from xml.sax.saxutils import escape

from tests.handlers.rest_server import RecordedRequest, Response, RestServer, as_json, ranged

ACCOUNT = "devstoreaccount1"
KEY = base64.b64encode(b"a key of thirty-two bytes, or so").decode()
SAS = "sv=2021-12-02&sr=c&sp=rl&se=2099-01-01&sig=c2VjcmV0%2Bvalue%3D"
SECRET = "client-secret-value"
_etags = count(0x8D4BCC2E4835CD0)
_XML = {"Content-Type": "application/xml"}


@dataclass
class Blob:
    body: bytes
    etag: str
    modified: datetime
    copying: bool = False
    is_directory: bool = False


@dataclass
class Message:
    text: str
    id: str
    receipt: str = ""
    visible: float = 0.0


class AzureServer(RestServer):
    """`believes`: the accepted credentials. `queue`: the messages of the queue `news`."""

    def __init__(self) -> None:
        super().__init__()
        self.containers: dict[str, dict[str, Blob]] = {}
        self.believes = {"key", "sas", "token", "anonymous"}
        self.tokens: set[str] = set()
        self.life = 3600
        self.page = 5000
        self.prefix = f"/{ACCOUNT}"
        self.queue: list[Message] = []
        self.hidden = 60.0

    @property
    def blobs(self) -> str:
        return f"{self.url}{self.prefix}"

    def put(self, container: str, name: str, body: bytes, **how: Any) -> Blob:
        now = datetime.now(UTC)
        blob = Blob(body, f"0x{next(_etags):X}", now, **how)
        self.containers.setdefault(container, {})[name] = blob
        return blob

    def send(self, text: str, *, encoded: bool = True) -> None:
        """Put a message into the queue, in base64 like Event Grid."""
        text = base64.b64encode(text.encode()).decode() if encoded else text
        with self.lock:
            self.queue.append(Message(text, secrets.token_hex(8)))

    def announce(self, container: str, name: str, blob: Blob) -> None:
        self.send(json.dumps(event_of(container, name, blob)))

    def answer(self, request: RecordedRequest) -> Response:
        if request.path.endswith("/oauth2/v2.0/token"):
            return self._by_app(request)
        if request.path.startswith("/metadata/identity/"):
            return self._by_machine(request)
        if "x-ms-version" not in request.headers or not self._is_believed(request):
            return _error(request, 403, "AuthenticationFailed")
        authorization = request.headers.get("authorization", "")
        if authorization.startswith("Bearer ") and authorization[7:] not in self.tokens:
            return _error(request, 401, "InvalidAuthenticationInfo")
        if request.path.startswith("/news"):
            return self._queue(request)
        container, *name = request.path.removeprefix(self.prefix + "/").split("/", 1)
        if container not in self.containers:
            return _error(request, 404, "ContainerNotFound")
        if not name:
            return self._list(request, container)
        return self._blob(
            request, container, "/".join(request.segments(f"{self.prefix}/{container}/"))
        )

    def _blob(self, request: RecordedRequest, container: str, name: str) -> Response:
        if len(name) > 1024 or "\0" in name:
            return _error(request, 400, "InvalidUri")
        blob = self.containers[container].get(name)
        if blob is None:
            return _error(request, 404, "BlobNotFound")
        if request.headers.get("if-match", f'"{blob.etag}"') != f'"{blob.etag}"':
            return _error(request, 412, "ConditionNotMet")
        part = ranged(blob.body, request.headers.get("range") if request.method == "GET" else None)
        if part is None:
            return _error(request, 416, "InvalidRange")
        headers = {"ETag": f'"{blob.etag}"', "Last-Modified": _date(blob.modified), **part[1]}
        if blob.copying:
            headers["x-ms-copy-status"] = "pending"
        return Response(206 if part[1] else 200, part[0], headers)

    def _list(self, request: RecordedRequest, container: str) -> Response:
        query = request.query
        if query.get("restype") != "container" or query.get("comp") != "list":
            return _error(request, 400, "InvalidQueryParameterValue")
        names = sorted(self.containers[container])
        if marker := query.get("marker"):
            if not marker.startswith("2!"):
                return _error(request, 400, "OutOfRangeInput")
            begin = base64.b64decode(marker[2:]).decode()
            names = [item for item in names if item >= begin]
        size = min(int(query.get("maxresults", 5000)), self.page)
        listed = "".join(_listed(item, self.containers[container][item]) for item in names[:size])
        left = f"2!{base64.b64encode(names[size].encode()).decode()}" if names[size:] else ""
        xml = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="x">'
            f"<Blobs>{listed}</Blobs><NextMarker>{left}</NextMarker></EnumerationResults>"
        )
        return Response(200, b"\xef\xbb\xbf" + xml.encode(), _XML)

    def _queue(self, request: RecordedRequest) -> Response:
        with self.lock:
            if request.path == "/news/messages" and request.method == "GET":
                return self._give(request)
            if request.method == "DELETE":
                return self._delete(request)
        if request.path == "/news" and request.query.get("comp") == "metadata":
            return Response(200, b"", {"x-ms-approximate-messages-count": str(len(self.queue))})
        return _error(request, 404, "QueueNotFound")

    def _give(self, request: RecordedRequest) -> Response:
        assert request.query["visibilitytimeout"] == "60"
        now, given = time.monotonic(), []
        for message in [item for item in self.queue if item.visible <= now]:
            if len(given) == int(request.query["numofmessages"]):
                break
            message.visible, message.receipt = now + self.hidden, f"{secrets.token_hex(4)}+/="
            given.append(
                f"<QueueMessage><MessageId>{message.id}</MessageId><PopReceipt>{message.receipt}"
                f"</PopReceipt><DequeueCount>1</DequeueCount><MessageText>{escape(message.text)}"
                "</MessageText></QueueMessage>"
            )
        xml = f"<QueueMessagesList>{''.join(given)}</QueueMessagesList>"
        return Response(200, b'<?xml version="1.0" encoding="utf-8"?>' + xml.encode(), _XML)

    def _delete(self, request: RecordedRequest) -> Response:
        id_ = request.path.removeprefix("/news/messages/")
        message = next((item for item in self.queue if item.id == id_), None)
        if message is None:
            return _error(request, 404, "MessageNotFound")
        if request.query.get("popreceipt") != message.receipt:
            return _error(request, 400, "PopReceiptMismatch")
        self.queue.remove(message)
        return Response(204)

    def _is_believed(self, request: RecordedRequest) -> bool:
        authorization = request.headers.get("authorization", "")
        if "sig" in request.query:
            return "sas" in self.believes and request.target.endswith(SAS)
        if authorization.startswith("SharedKey "):
            sent = authorization.removeprefix(f"SharedKey {ACCOUNT}:")
            return "key" in self.believes and hmac.compare_digest(sent, signature(request))
        if authorization.startswith("Bearer "):
            return "token" in self.believes
        return "anonymous" in self.believes

    def _by_app(self, request: RecordedRequest) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if request.path != "/tenant-1/oauth2/v2.0/token" or form.get("client_secret") != SECRET:
            return as_json({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401)
        assert form["grant_type"] == "client_credentials"
        assert form["scope"] == "https://storage.azure.com/.default"
        return self._granted(self.life)

    def _by_machine(self, request: RecordedRequest) -> Response:
        if request.headers.get("metadata") != "true":
            return as_json({"error": "bad_request_102"}, 400)
        assert request.query["resource"] == "https://storage.azure.com"
        return self._granted(str(self.life))  # this service sends a string

    def _granted(self, life: object) -> Response:
        token = secrets.token_hex(16)
        self.tokens.add(token)
        return as_json({"access_token": token, "expires_in": life, "token_type": "Bearer"})


def signature(request: RecordedRequest) -> str:
    """The Shared Key signature of a request, implemented separately from the document."""
    names = ["encoding", "language", "length", "md5", "type"]
    standard = [request.headers.get(f"content-{name}", "") for name in names]
    standard[2] = "" if standard[2] == "0" else standard[2]
    others = [
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ]
    standard += [request.headers.get(name, "") for name in others]
    own = sorted((n, v) for n, v in request.headers.items() if n.startswith("x-ms-"))
    query = sorted(
        (name.lower(), value)
        for name, value in parse_qsl(request.target.partition("?")[2], keep_blank_values=True)
    )
    text = "\n".join([request.method, *standard]) + "\n"
    text += "".join(f"{name}:{value}\n" for name, value in own)
    text += f"/{ACCOUNT}{request.path}" + "".join(f"\n{name}:{value}" for name, value in query)
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def event_of(container: str, name: str, blob: Blob, **changes: Any) -> dict[str, Any]:
    """An event of Event Grid about a blob, in the Event Grid schema."""
    data = {
        "api": "PutBlockList",
        "eTag": blob.etag,
        "contentLength": len(blob.body),
        "blobType": "BlockBlob",
        "sequencer": "00000000000004420000000000028963",
        **changes,
    }
    return {
        "topic": "/subscriptions/x/storageAccounts/my-storage-account",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "eventTime": blob.modified.isoformat(),
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "data": data,
        "dataVersion": "",
        "metadataVersion": "1",
    }


def _listed(name: str, blob: Blob) -> str:
    spelled, encoded = escape(name, {"\r": "&#13;"}), ""
    if any(ord(item) < 32 and item not in "\t\n\r" for item in name):
        spelled, encoded = "".join(f"%{item:02X}" for item in name.encode()), ' Encoded="true"'
    kind = "<ResourceType>directory</ResourceType>" if blob.is_directory else ""
    return (
        f"<Blob><Name{encoded}>{spelled}</Name><Properties><Last-Modified>{_date(blob.modified)}"
        f"</Last-Modified><Etag>{blob.etag}</Etag><Content-Length>{len(blob.body)}"
        f"</Content-Length>{kind}<BlobType>BlockBlob</BlobType></Properties></Blob>"
    )


def _date(moment: datetime) -> str:
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def _error(request: RecordedRequest, status: int, code: str) -> Response:
    # Azure quotes the request too: the handler must not show the body.
    details = f"<Code>{code}</Code><Message>{escape(request.target)}</Message>"
    body = f"<?xml version='1.0'?><Error>{details}</Error>"
    return Response(status, body.encode(), {**_XML, "x-ms-error-code": code})
