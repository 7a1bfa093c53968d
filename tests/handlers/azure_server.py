"""A stand-in for Azure Blob and Queue Storage, Entra's token endpoint and the identity service.

It does as the documents say: ETags and If-Match, ranges, listings by marker, Shared Key signatures,
SAS, tokens that end, pop receipts that change, messages that come again.
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

from tests.handlers.rest_server import Answer, Asked, RestServer, as_json, ranged

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
    """`believes`: any of key, sas, token, anybody. `queue`: what waits in the queue `news`."""

    def __init__(self) -> None:
        super().__init__()
        self.containers: dict[str, dict[str, Blob]] = {}
        self.believes = {"key", "sas", "token", "anybody"}
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
        """Puts a message into the queue, in base64 as Event Grid does."""
        text = base64.b64encode(text.encode()).decode() if encoded else text
        with self.lock:
            self.queue.append(Message(text, secrets.token_hex(8)))

    def announce(self, container: str, name: str, blob: Blob) -> None:
        self.send(json.dumps(event_of(container, name, blob)))

    def answer(self, asked: Asked) -> Answer:
        if asked.path.endswith("/oauth2/v2.0/token"):
            return self._by_app(asked)
        if asked.path.startswith("/metadata/identity/"):
            return self._by_machine(asked)
        if "x-ms-version" not in asked.headers or not self._is_believed(asked):
            return _error(asked, 403, "AuthenticationFailed")
        authorization = asked.headers.get("authorization", "")
        if authorization.startswith("Bearer ") and authorization[7:] not in self.tokens:
            return _error(asked, 401, "InvalidAuthenticationInfo")
        if asked.path.startswith("/news"):
            return self._queue(asked)
        container, *name = asked.path.removeprefix(self.prefix + "/").split("/", 1)
        if container not in self.containers:
            return _error(asked, 404, "ContainerNotFound")
        if not name:
            return self._list(asked, container)
        return self._blob(asked, container, "/".join(asked.segments(f"{self.prefix}/{container}/")))

    def _blob(self, asked: Asked, container: str, name: str) -> Answer:
        if len(name) > 1024 or "\0" in name:
            return _error(asked, 400, "InvalidUri")
        blob = self.containers[container].get(name)
        if blob is None:
            return _error(asked, 404, "BlobNotFound")
        if asked.headers.get("if-match", f'"{blob.etag}"') != f'"{blob.etag}"':
            return _error(asked, 412, "ConditionNotMet")
        part = ranged(blob.body, asked.headers.get("range") if asked.method == "GET" else None)
        if part is None:
            return _error(asked, 416, "InvalidRange")
        headers = {"ETag": f'"{blob.etag}"', "Last-Modified": _date(blob.modified), **part[1]}
        if blob.copying:
            headers["x-ms-copy-status"] = "pending"
        return Answer(206 if part[1] else 200, part[0], headers)

    def _list(self, asked: Asked, container: str) -> Answer:
        query = asked.query
        if query.get("restype") != "container" or query.get("comp") != "list":
            return _error(asked, 400, "InvalidQueryParameterValue")
        names = sorted(self.containers[container])
        if marker := query.get("marker"):
            if not marker.startswith("2!"):
                return _error(asked, 400, "OutOfRangeInput")
            begin = base64.b64decode(marker[2:]).decode()
            names = [one for one in names if one >= begin]
        size = min(int(query.get("maxresults", 5000)), self.page)
        listed = "".join(_listed(one, self.containers[container][one]) for one in names[:size])
        left = f"2!{base64.b64encode(names[size].encode()).decode()}" if names[size:] else ""
        xml = (
            '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="x">'
            f"<Blobs>{listed}</Blobs><NextMarker>{left}</NextMarker></EnumerationResults>"
        )
        return Answer(200, b"\xef\xbb\xbf" + xml.encode(), _XML)

    def _queue(self, asked: Asked) -> Answer:
        with self.lock:
            if asked.path == "/news/messages" and asked.method == "GET":
                return self._give(asked)
            if asked.method == "DELETE":
                return self._delete(asked)
        if asked.path == "/news" and asked.query.get("comp") == "metadata":
            return Answer(200, b"", {"x-ms-approximate-messages-count": str(len(self.queue))})
        return _error(asked, 404, "QueueNotFound")

    def _give(self, asked: Asked) -> Answer:
        assert asked.query["visibilitytimeout"] == "60"
        now, given = time.monotonic(), []
        for message in [one for one in self.queue if one.visible <= now]:
            if len(given) == int(asked.query["numofmessages"]):
                break
            message.visible, message.receipt = now + self.hidden, f"{secrets.token_hex(4)}+/="
            given.append(
                f"<QueueMessage><MessageId>{message.id}</MessageId><PopReceipt>{message.receipt}"
                f"</PopReceipt><DequeueCount>1</DequeueCount><MessageText>{escape(message.text)}"
                "</MessageText></QueueMessage>"
            )
        xml = f"<QueueMessagesList>{''.join(given)}</QueueMessagesList>"
        return Answer(200, b'<?xml version="1.0" encoding="utf-8"?>' + xml.encode(), _XML)

    def _delete(self, asked: Asked) -> Answer:
        id_ = asked.path.removeprefix("/news/messages/")
        message = next((one for one in self.queue if one.id == id_), None)
        if message is None:
            return _error(asked, 404, "MessageNotFound")
        if asked.query.get("popreceipt") != message.receipt:
            return _error(asked, 400, "PopReceiptMismatch")
        self.queue.remove(message)
        return Answer(204)

    def _is_believed(self, asked: Asked) -> bool:
        authorization = asked.headers.get("authorization", "")
        if "sig" in asked.query:
            return "sas" in self.believes and asked.target.endswith(SAS)
        if authorization.startswith("SharedKey "):
            told = authorization.removeprefix(f"SharedKey {ACCOUNT}:")
            return "key" in self.believes and hmac.compare_digest(told, signature(asked))
        if authorization.startswith("Bearer "):
            return "token" in self.believes
        return "anybody" in self.believes

    def _by_app(self, asked: Asked) -> Answer:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if asked.path != "/tenant-1/oauth2/v2.0/token" or form.get("client_secret") != SECRET:
            return as_json({"error": "invalid_client", "error_description": "AADSTS7000215"}, 401)
        assert form["grant_type"] == "client_credentials"
        assert form["scope"] == "https://storage.azure.com/.default"
        return self._granted(self.life)

    def _by_machine(self, asked: Asked) -> Answer:
        if asked.headers.get("metadata") != "true":
            return as_json({"error": "bad_request_102"}, 400)
        assert asked.query["resource"] == "https://storage.azure.com"
        return self._granted(str(self.life))  # a text, as this one says it

    def _granted(self, life: object) -> Answer:
        token = secrets.token_hex(16)
        self.tokens.add(token)
        return as_json({"access_token": token, "expires_in": life, "token_type": "Bearer"})


def signature(asked: Asked) -> str:
    """The Shared Key signature of a request, written down anew from the document's rules."""
    names = ["encoding", "language", "length", "md5", "type"]
    standard = [asked.headers.get(f"content-{name}", "") for name in names]
    standard[2] = "" if standard[2] == "0" else standard[2]
    others = [
        "date",
        "if-modified-since",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
        "range",
    ]
    standard += [asked.headers.get(name, "") for name in others]
    own = sorted((n, v) for n, v in asked.headers.items() if n.startswith("x-ms-"))
    query = sorted(
        (name.lower(), value)
        for name, value in parse_qsl(asked.target.partition("?")[2], keep_blank_values=True)
    )
    text = "\n".join([asked.method, *standard]) + "\n"
    text += "".join(f"{name}:{value}\n" for name, value in own)
    text += f"/{ACCOUNT}{asked.path}" + "".join(f"\n{name}:{value}" for name, value in query)
    digest = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def event_of(container: str, name: str, blob: Blob, **changes: Any) -> dict[str, Any]:
    """What Event Grid tells of a blob, in its own schema."""
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
    if any(ord(one) < 32 and one not in "\t\n\r" for one in name):
        spelled, encoded = "".join(f"%{one:02X}" for one in name.encode()), ' Encoded="true"'
    kind = "<ResourceType>directory</ResourceType>" if blob.is_directory else ""
    return (
        f"<Blob><Name{encoded}>{spelled}</Name><Properties><Last-Modified>{_date(blob.modified)}"
        f"</Last-Modified><Etag>{blob.etag}</Etag><Content-Length>{len(blob.body)}"
        f"</Content-Length>{kind}<BlobType>BlockBlob</BlobType></Properties></Blob>"
    )


def _date(moment: datetime) -> str:
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


def _error(asked: Asked, status: int, code: str) -> Answer:
    # As Azure does, it quotes the request: nobody may show that.
    told = f"<Code>{code}</Code><Message>{escape(asked.target)}</Message>"
    told = f"<Code>{code}</Code><Message>{escape(asked.target)}</Message>"
    body = f"<?xml version='1.0'?><Error>{told}</Error>"
    return Answer(status, body.encode(), {**_XML, "x-ms-error-code": code})
