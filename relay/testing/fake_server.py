"""A loopback HTTP server that replaces a chat service in the tests of channels."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug import Request, Response

from relay.testing.sandbox.server import LoopbackServer

SECRET_PATH = "/hook/T0SECRETPART/B0SECRETPART"  # noqa: S105 - a fake secret that must not be shown


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of the service."""

    status: int = 200
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Received:
    """A request received by the stand-in. Header names are lower-case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class StandIn:
    """A loopback HTTP server that replaces the service and records requests.

    Each request takes the next of `replies`; when there are none left, the response is `accepts`.
    """

    def __init__(self, accepts: Reply) -> None:
        self.accepts = accepts
        self.replies: deque[Reply] = deque()
        self.received: list[Received] = []
        self._server = LoopbackServer(self._respond)

    @property
    def url(self) -> str:
        return self._server.url + SECRET_PATH

    def __enter__(self) -> StandIn:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _respond(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        headers = {name.lower(): value for name, value in request.headers}
        self.received.append(Received(request.path, headers, request.get_data()))
        reply = self.replies.popleft() if self.replies else self.accepts
        return Response(reply.text, reply.status, reply.headers)(environ, start_response)
