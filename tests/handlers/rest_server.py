"""The base of fake REST storages: a real loopback server that can inject faults."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest

from relay.errors import TemporaryFailure
from relay.sources.contract import ObjectStream


@dataclass(frozen=True)
class RecordedRequest:
    """A received request. `target` is that of the request line, byte for byte."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        text = self.target.partition("?")[2]
        return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}

    def segments(self, prefix: str) -> list[str]:
        """The path after a prefix, split at unencoded slashes, then decoded."""
        return [
            unquote(item, errors="strict") for item in self.path.removeprefix(prefix).split("/")
        ]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Response:
    """`cut`: the bytes of the body before the connection closes. `length`: Content-Length."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None


def as_json(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


Fault = Callable[[RecordedRequest, Callable[[], Response]], Response]
"""Replaces or changes a response."""


class RestServer:
    """Sends the responses of `answer`; each of `faults` applies to a single request."""

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self.responses: list[Response] = []
        self.faults: deque[Fault] = deque()
        self.lock = threading.RLock()
        self._server = _Serving(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: RecordedRequest) -> Response:
        raise NotImplementedError

    def respond_with(self, *responses: Response) -> None:
        """Send these responses to the next requests."""
        self.faults += [
            lambda _request, _respond, response=response: response for response in responses
        ]

    def truncate(self, after: int) -> None:
        """Close the connection after this many bytes of the next response body."""

        def cut(_: RecordedRequest, respond: Callable[[], Response]) -> Response:
            response = respond()
            return Response(response.status, response.body, response.headers, cut=after)

        self.faults.append(cut)

    def change_headers(self, **headers: str | None) -> None:
        """Change headers of the next response; None removes a header."""

        def changed(_: RecordedRequest, respond: Callable[[], Response]) -> Response:
            response = respond()
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return Response(response.status, response.body, {**response.headers, **named})

        self.faults.append(changed)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def take(self, request: RecordedRequest) -> Response:
        """Record a request, and return the response of `answer` or of the next fault."""
        with self.lock:
            self.requests.append(request)
            fault = self.faults.popleft() if self.faults else None
        answer = fault(request, lambda: self.answer(request)) if fault else self.answer(request)
        with self.lock:
            self.responses.append(answer)
        return answer


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    wbufsize = -1  # send a response in a single write
    server: _Serving

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = self.raw_requestline.decode("latin-1").split(" ")[1]
        self._send(self.server.rest.take(RecordedRequest(self.command, target, headers, body)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _send(self, answer: Response) -> None:
        self.send_response_only(answer.status)
        length = len(answer.body) if answer.length is None else answer.length
        for name, value in {"Content-Length": str(length), **answer.headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.cut])
        self.close_connection = self.close_connection or answer.cut is not None

    def log_message(self, *_: object) -> None:
        """Log nothing: URLs contain signatures."""

    def handle(self) -> None:
        with suppress(OSError):  # the client disconnected
            super().handle()


class _Serving(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, rest: RestServer) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.rest = rest
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """Close the connections of clients: a caught exception can keep a connection open."""
        for item in self._open:
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)


def ranged(body: bytes, header: str | None) -> tuple[bytes, dict[str, str]] | None:
    """The range of a body and the Content-Range header; None for status 416."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not match:
        return body, {}
    first = int(match[1])
    last = min(int(match[2] or len(body) - 1), len(body) - 1)
    if first > last:
        return None
    return body[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(body)}"}


def read_truncated(stream: ObjectStream) -> bytes:
    """All bytes before the error at the end of a truncated stream."""
    parts: list[bytes] = []
    with pytest.raises(TemporaryFailure) as raised:
        parts.extend(iter(lambda: stream.read(4096), b""))
    assert raised.value.code == "object.cut"
    return b"".join(parts)
