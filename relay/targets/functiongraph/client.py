"""One call of FunctionGraph's API: authenticated, sent in one pass, its answer judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, urlencode

import requests
from requests.auth import AuthBase

from relay.errors import TemporaryFailure
from relay.model import Json
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import Clock
from relay.targets.functiongraph.auth import Credentials
from relay.targets.functiongraph.errors import (
    ApiResponse,
    Effect,
    classify,
    read_answer,
    unreadable,
)
from relay.targets.functiongraph.settings import FunctionGraphSettings

MAX_ANSWER = 4 * 2**20
"""Bytes: a page of 400 functions with their configurations."""


class Body(Protocol):
    """Bytes of a known number, readable as often as needed."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class FunctionGraphRequest:
    """`path` comes after /v2/{project_id}/fgs; `effect` is what it does when it succeeds."""

    method: str
    path: str
    effect: Effect = "none"
    body: Body | bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)


class FunctionGraphClient:
    """FunctionGraph as one project sees it. For many threads."""

    def __init__(
        self, settings: FunctionGraphSettings, outbound: HttpClientFactory, clock: Clock
    ) -> None:
        self._base = f"{settings.url}/v2/{settings.project_id}/fgs"
        self._clock = clock
        self._session = outbound.session(guarded=False, max_answer=MAX_ANSWER)
        self.credentials = Credentials(settings, outbound, clock)

    def call(self, call: FunctionGraphRequest, auth: AuthBase | None = None) -> Json:
        """The answer's JSON, with `request_id` added.

        `auth`: else chosen by size. Raises the error that `classify` makes of an answer that is no
        success, or `translate` of none.
        """
        return self._json(call, self._answered(call, auth))

    def find(self, call: FunctionGraphRequest) -> Json | None:
        """As `call`; None when FunctionGraph itself says that there is no such thing.

        A gateway's 404 means a wrong endpoint, so only a code of FunctionGraph's own counts.
        """
        response = self._answered(call, None)
        if response.status_code == 404 and self._read(response).code.startswith("FSS."):
            return None
        return self._json(call, response)

    def close(self) -> None:
        self._session.close()
        self.credentials.close()

    def _answered(self, call: FunctionGraphRequest, auth: AuthBase | None) -> requests.Response:
        auth = auth or self.credentials.choose(len(call.body or b""))
        response = self._send(call, auth)
        if response.ok:
            return response
        other = self.credentials.other(auth, self._read(response))
        return self._send(call, other) if other else response

    def _send(self, call: FunctionGraphRequest, auth: AuthBase) -> requests.Response:
        try:
            return self._sent(call, auth)
        except TemporaryFailure as failure:
            if call.effect != "none" or not _broke(failure.__cause__):
                raise
            # A question, and its connection may have been closed just as it was used again.
            return self._sent(call, auth)

    def _sent(self, call: FunctionGraphRequest, auth: AuthBase) -> requests.Response:
        body = call.body
        sending = body if body is None or isinstance(body, bytes) else Sending(body)
        try:
            return self._session.request(
                call.method,
                self._base + call.path + _query(call),
                data=sending,
                headers={"Content-Type": "application/json"},
                auth=auth,
            )
        except requests.RequestException as error:
            whole = sending.whole if isinstance(sending, Sending) else True
            raise translate(error, sent=whole and call.effect != "none") from error

    def _json(self, call: FunctionGraphRequest, response: requests.Response) -> Json:
        if not 200 <= response.status_code < 300:
            raise classify(self._read(response), call.effect, self._clock())
        try:
            told = response.json() if response.content else {}
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            raise unreadable(self._read(response), call.effect)
        return {**told, "request_id": response.headers.get("X-Request-Id", "")}

    def _read(self, response: requests.Response) -> ApiResponse:
        return read_answer(response, self._clock())


def _broke(error: BaseException | None) -> bool:
    return isinstance(error, requests.ConnectionError) and not isinstance(error, requests.Timeout)


def _query(call: FunctionGraphRequest) -> str:
    # As it is signed: requests would write a space as '+', which is a plus to some gateways.
    return f"?{urlencode(call.query, quote_via=quote, safe='~')}" if call.query else ""


class Sending:
    """A body on its way: knows whether its last byte may have gone, and holds it to its length."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._left = len(body)

    @property
    def whole(self) -> bool:
        return self._left == 0

    def __len__(self) -> int:
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        self._left = len(self._body)
        for chunk in self._body:
            if len(chunk) > self._left:
                raise ValueError("a body is longer than it said")
            self._left -= len(chunk)
            yield chunk
        if self._left:
            raise ValueError("a body is shorter than it said")
