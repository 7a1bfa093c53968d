"""A loopback HTTP server that replaces a chat service in the tests of channels."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server

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


class _SilentHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: tests search the log for secrets of the channel."""


class StandIn:
    """A loopback HTTP server that replaces the service and records requests.

    Each request takes the next of `replies`; when there are none left, the response is `accepts`.
    """

    def __init__(self, accepts: Reply) -> None:
        self.accepts = accepts
        self.replies: deque[Reply] = deque()
        self.received: list[Received] = []
        self._server = make_server(
            "127.0.0.1", 0, self._respond, threaded=True, request_handler=_SilentHandler
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{SECRET_PATH}"

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _respond(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        headers = {name.lower(): value for name, value in request.headers}
        self.received.append(Received(request.path, headers, request.get_data()))
        reply = self.replies.popleft() if self.replies else self.accepts
        return Response(reply.text, reply.status, reply.headers)(environ, start_response)
