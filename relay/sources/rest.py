"""HttpApi: a client for the REST API of a storage or a queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from relay.errors import RelayError
from relay.model import Localized
from relay.outbound.credentials import Credential
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory
from relay.sources.errors import bad_key, not_understood, slow

CONNECT = 10.0
STALL = 60.0
"""Seconds for the next bytes of an object; seconds for any other response as a whole."""

LARGEST = 16 * 1024 * 1024
"""Bytes of a response that is read whole. A page of 1,000 objects has a tenth of that; the longest
message of Pub/Sub has a little less."""

Refusal = Callable[[requests.Response, str], RelayError]
"""refusal(response, name) -> the error of an unsuccessful response about the named object."""


@dataclass(frozen=True, slots=True)
class StorageRequest:
    """A request.

    `url`: sent unchanged, so it is percent-encoded already. `timeout`: seconds. `accepted`: error
    statuses that the caller handles.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    timeout: float = STALL
    accepted: tuple[int, ...] = ()


class HttpApi:
    """Sends requests with a credential; after a 401, renews it and repeats the request once."""

    def __init__(self, credential: Credential, refusal: Refusal) -> None:
        self._credential = credential
        self._refusal = refusal
        outbound = HttpClientFactory(connect_timeout=CONNECT, read_timeout=STALL)
        self._whole = outbound.session(guarded=False, max_response=LARGEST)
        self._streams = outbound.session(guarded=False, streams=True)

    def send(self, request: StorageRequest, name: str) -> requests.Response:
        """Return a response that is read whole. `name` stands for the object in errors."""
        return self._send_twice(self._whole, request, name)

    def stream(self, request: StorageRequest, name: str) -> requests.Response:
        """Return a response with an unread body, which the caller reads and closes."""
        return self._send_twice(self._streams, request, name)

    def close(self) -> None:
        self._whole.close()
        self._streams.close()

    def _send_twice(
        self, session: requests.Session, request: StorageRequest, name: str
    ) -> requests.Response:
        response = self._send_once(session, request)
        if response.status_code == 401 and self._credential.renew(response.request):
            response = self._send_once(session, request)
        if not 200 <= response.status_code < 300 and response.status_code not in request.accepted:
            raise self._refusal(response, name)
        return response

    def _send_once(self, session: requests.Session, request: StorageRequest) -> requests.Response:
        parts = urlsplit(request.url)
        try:
            return session.request(
                request.method,
                f"{parts.scheme}://{parts.netloc}/",
                headers=dict(request.headers),
                json=request.json,
                auth=_ExactUrl(request.url, self._credential),
                timeout=(CONNECT, request.timeout),
            )
        except requests.ReadTimeout:
            raise slow(parts.hostname or "", request.timeout) from None
        except requests.RequestException as error:
            # Not `from error`: that text contains the URL, which may contain a signature.
            raise translate(error, sent=False) from None


class _ExactUrl:
    """Sets the URL of a prepared request, then signs it.

    requests would decode %2E in the path and then resolve `..` segments.
    """

    def __init__(self, url: str, credential: Credential) -> None:
        self._url = url
        self._credential = credential

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.url = self._url
        self._credential.sign(request)
        return request


def path_segment(text: str) -> str:
    """Encode a name as a segment of a URL path, dot segments included.

    PermanentFailure when the name is empty or not valid Unicode.
    """
    try:
        encoded = quote(text, safe="")
    except UnicodeEncodeError:
        raise bad_key(Localized("it is not valid Unicode", "不是有效的 Unicode")) from None
    if not encoded:
        raise bad_key(Localized("it is empty", "为空"))
    return encoded.replace(".", "%2E") if not text.strip(".") else encoded


def read_json(response: requests.Response, name: str) -> dict[str, Any]:
    """Return the JSON object of a response; TemporaryFailure when there is none."""
    try:
        body = response.json()
    except (requests.JSONDecodeError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise not_understood(name, str(response.status_code))
    return body
