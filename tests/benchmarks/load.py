"""Load on a hook: many connections from one thread, so that the sender costs next to nothing.

What is waited for counts from the moment at which a request was to go out, so a server that falls
behind cannot hide it. A server that dies ends the load: what it had answered counts.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field

TOKEN = "hook-token"
PATH = "/hooks/exports"


@dataclass
class Heard:
    """`accepted`: names answered with 200; `waited`: seconds for each; `refused`: others."""

    accepted: list[str] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    @property
    def rate(self):
        return len(self.accepted) / self.seconds

    def at(self, share):
        """Milliseconds, of the share of the fastest."""
        waited = sorted(self.waited)
        return waited[min(int(len(waited) * share), len(waited) - 1)] * 1000


@dataclass
class _Line:
    """One connection."""

    sock: socket.socket
    name: str = ""
    began: float = 0.0
    got: bytes = b""


class Load:
    """Posts one notification for each name. `rate`: so many a second; None: as fast as answered."""

    def __init__(self, port, clients, *, path=PATH, size=1, etag="e", rate=None):
        self._about = {"size": size, "eTag": etag}
        self._rate = rate
        self._lines = {}
        self._idle = deque()
        self._poll = select.epoll()
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        for _ in range(clients):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(sock.fileno(), select.EPOLLIN)
            self._lines[sock.fileno()] = _Line(sock)
            self._idle.append(self._lines[sock.fileno()])

    def run(self, names):
        """What was heard, when every name was answered or the server is gone."""
        heard, names = Heard(), deque(enumerate(names))
        began = time.perf_counter()
        try:
            while names or len(self._idle) < len(self._lines):
                wait = self._send(names, began)
                for place, _ in self._poll.poll(wait):
                    self._hear(self._lines[place], heard)
        except ConnectionError:
            pass
        finally:
            heard.seconds = time.perf_counter() - began
            for line in self._lines.values():
                line.sock.close()
            self._poll.close()
        return heard

    def _send(self, names, began):
        """Sends what is to go out now; how long nothing else is."""
        while names and self._idle:
            number, name = names[0]
            now = time.perf_counter()
            due = began + number / self._rate if self._rate else now
            if due > now:
                return due - now
            names.popleft()
            line = self._idle.popleft()
            line.name, line.began, line.got = name, due, b""
            body = self._notification(name, number)
            line.sock.sendall(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
        return None

    def _hear(self, line, heard):
        more = line.sock.recv(65536)
        if not more:
            raise ConnectionError
        line.got += more
        head, end, body = line.got.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        if head.split(b" ", 2)[1] == b"200":
            heard.accepted.append(line.name)
            heard.waited.append(time.perf_counter() - line.began)
        else:
            heard.refused += 1
        self._idle.append(line)

    def _notification(self, name, number):
        about = {"key": f"{name}/hello.zip", **self._about, "sequencer": f"{number:016x}"}
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": "2026-11-24T03:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "exports"}, "object": about},
        }
        return json.dumps({"Records": [record]}).encode()


def _length(head):
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)
