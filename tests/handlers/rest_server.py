"""What the stand-ins of REST storages share: a real loopback server that can fail in many ways."""

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
class Asked:
    """A request as it came over the wire. `target`: the request line's, byte for byte."""

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
        """What comes after a prefix, split at the slashes that were not encoded, then decoded."""
        return [unquote(one, errors="strict") for one in self.path.removeprefix(prefix).split("/")]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """`cut`: after so many bytes of the body the connection ends. `length`: what is announced."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None


def as_json(found: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(found).encode(), {"Content-Type": "application/json"})


Fault = Callable[[Asked, Callable[[], Answer]], Answer]
"""What happens instead of an answer, or to it."""


class RestServer:
    """Answers as `answer` says; the next requests go through `faults` first, one each."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answered: list[Answer] = []
        self.faults: deque[Fault] = deque()
        self.lock = threading.RLock()
        self._server = _Serving(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def fails(self, *answers: Answer) -> None:
        """The next requests get these answers."""
        self.faults += [lambda _asked, _usual, one=one: one for one in answers]

    def cuts(self, after: int) -> None:
        """The next answer's connection ends after so many bytes of its body."""

        def cut(_: Asked, usual: Callable[[], Answer]) -> Answer:
            whole = usual()
            return Answer(whole.status, whole.body, whole.headers, cut=after)

        self.faults.append(cut)

    def changes(self, **headers: str | None) -> None:
        """The next answer has these headers instead; None takes one away."""

        def changed(_: Asked, usual: Callable[[], Answer]) -> Answer:
            whole = usual()
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return Answer(whole.status, whole.body, {**whole.headers, **named})

        self.faults.append(changed)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def take(self, asked: Asked) -> Answer:
        """Notes a request, and answers it or lets the next fault do so."""
        with self.lock:
            self.asked.append(asked)
            fault = self.faults.popleft() if self.faults else None
        answer = fault(asked, lambda: self.answer(asked)) if fault else self.answer(asked)
        with self.lock:
            self.answered.append(answer)
        return answer


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    wbufsize = -1  # an answer goes out in one piece
    server: _Serving

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        target = self.raw_requestline.decode("latin-1").split(" ")[1]
        self._send(self.server.rest.take(Asked(self.command, target, headers, body)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _send(self, answer: Answer) -> None:
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
        """Nothing: addresses hold signatures."""

    def handle(self) -> None:
        with suppress(OSError):  # the client hung up
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
        """Ends what clients keep open: an exception that a test caught holds its connection."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def ranged(body: bytes, header: str | None) -> tuple[bytes, dict[str, str]] | None:
    """The part of a body that a Range header asks for, with its Content-Range; None: 416."""
    given = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not given:
        return body, {}
    first = int(given[1])
    last = min(int(given[2] or len(body) - 1), len(body) - 1)
    if first > last:
        return None
    return body[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(body)}"}


def before_the_cut(stream: ObjectStream) -> bytes:
    """All bytes before the error that a cut stream must end with."""
    parts: list[bytes] = []
    with pytest.raises(TemporaryFailure) as raised:
        parts.extend(iter(lambda: stream.read(4096), b""))
    assert raised.value.code == "object.cut"
    return b"".join(parts)
