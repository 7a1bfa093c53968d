"""HttpApi: a REST API of a storage or a queue: exact addresses, who asks, refusals in our words."""

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
"""Seconds in which some bytes of an object have to come; any other answer as a whole."""

LARGEST = 16 * 1024 * 1024
"""Bytes of an answer that is read whole: a page of 1,000 objects has a tenth of that, a message of
Pub/Sub at its longest a little less."""

Refusal = Callable[[requests.Response, str], RelayError]
"""The error in an answer that is no success. The text names what was asked for."""


@dataclass(frozen=True, slots=True)
class StorageRequest:
    """One request. `url` goes out exactly as it stands here, so it is percent-encoded already.

    `timeout`: seconds. `accepted`: statuses that are answers too, not refusals.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    timeout: float = STALL
    accepted: tuple[int, ...] = ()


class HttpApi:
    """For many threads. A proof that is refused (401) is renewed, and the request made again."""

    def __init__(self, credential: Credential, refusal: Refusal) -> None:
        self._credential = credential
        self._refusal = refusal
        outbound = HttpClientFactory(connect_timeout=CONNECT, read_timeout=STALL)
        self._whole = outbound.session(guarded=False, max_answer=LARGEST)
        self._streams = outbound.session(guarded=False, streams=True)

    def send(self, call: StorageRequest, thing: str) -> requests.Response:
        """An answer, read whole. `thing` names in errors what is asked for."""
        return self._answered(self._whole, call, thing)

    def stream(self, call: StorageRequest, thing: str) -> requests.Response:
        """An answer whose body, if it is a success, is left for the caller to read and close."""
        return self._answered(self._streams, call, thing)

    def close(self) -> None:
        self._whole.close()
        self._streams.close()

    def _answered(
        self, session: requests.Session, call: StorageRequest, thing: str
    ) -> requests.Response:
        answer = self._sent(session, call)
        if answer.status_code == 401 and self._credential.renew(answer.request):
            answer = self._sent(session, call)
        if not 200 <= answer.status_code < 300 and answer.status_code not in call.accepted:
            raise self._refusal(answer, thing)
        return answer

    def _sent(self, session: requests.Session, call: StorageRequest) -> requests.Response:
        parts = urlsplit(call.url)
        try:
            return session.request(
                call.method,
                f"{parts.scheme}://{parts.netloc}/",
                headers=dict(call.headers),
                json=call.json,
                auth=_Exactly(call.url, self._credential),
                timeout=(CONNECT, call.timeout),
            )
        except requests.ReadTimeout:
            raise slow(parts.hostname or "", call.timeout) from None
        except requests.RequestException as error:
            # Not `from error`: it tells the address, and that may hold a signature.
            raise translate(error, sent=False) from None


class _Exactly:
    """Sets the address when the request is ready: requests would decode %2E in it, and fold what
    then looks like a step up. Signs after that."""

    def __init__(self, url: str, credential: Credential) -> None:
        self._url = url
        self._credential = credential

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.url = self._url
        self._credential.sign(request)
        return request


def path_segment(text: str) -> str:
    """A name as one segment of a path: nothing on the way reads more into it.

    PermanentFailure when it is empty or is no Unicode.
    """
    try:
        encoded = quote(text, safe="")
    except UnicodeEncodeError:
        raise bad_key(Localized("it is not valid Unicode", "不是有效的 Unicode")) from None
    if not encoded:
        raise bad_key(Localized("it is empty", "为空"))
    return encoded.replace(".", "%2E") if not text.strip(".") else encoded


def read_json(answer: requests.Response, thing: str) -> dict[str, Any]:
    """The object in an answer; TemporaryFailure when there is none."""
    try:
        found = answer.json()
    except (requests.JSONDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise not_understood(thing, str(answer.status_code))
    return found
