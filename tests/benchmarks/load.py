"""Load generator for a hook: many connections in a single thread, so that the sender is cheap.

Response times count from the scheduled time of a request, so that a server that falls behind cannot
hide it. The load ends if the server dies; the responses so far count.
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
class LoadResult:
    """`accepted`: names answered with 200; `durations`: seconds for each; `refused`: others."""

    accepted: list[str] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0

    @property
    def rate(self):
        return len(self.accepted) / self.seconds

    def percentile(self, share):
        """Return the percentile of the response times in milliseconds."""
        durations = sorted(self.durations)
        return durations[min(int(len(durations) * share), len(durations) - 1)] * 1000


@dataclass
class _Connection:
    """A connection and the request on it."""

    sock: socket.socket
    name: str = ""
    started: float = 0.0
    received: bytes = b""


class Load:
    """Posts a notification for each name. `rate`: per second; None: as fast as possible."""

    def __init__(self, port, clients, *, path=PATH, size=1, etag="e", rate=None):
        self._fields = {"size": size, "eTag": etag}
        self._rate = rate
        self._connections = {}
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
            self._connections[sock.fileno()] = _Connection(sock)
            self._idle.append(self._connections[sock.fileno()])

    def run(self, names):
        """Return the result when every name is answered or the server has died."""
        result, names = LoadResult(), deque(enumerate(names))
        started = time.perf_counter()
        try:
            while names or len(self._idle) < len(self._connections):
                wait = self._send(names, started)
                for descriptor, _ in self._poll.poll(wait):
                    self._receive(self._connections[descriptor], result)
        except ConnectionError:
            pass
        finally:
            result.seconds = time.perf_counter() - started
            for connection in self._connections.values():
                connection.sock.close()
            self._poll.close()
        return result

    def _send(self, names, started):
        """Send the requests that are due; return the seconds until the next, or None."""
        while names and self._idle:
            number, name = names[0]
            now = time.perf_counter()
            due = started + number / self._rate if self._rate else now
            if due > now:
                return due - now
            names.popleft()
            connection = self._idle.popleft()
            connection.name, connection.started, connection.received = name, due, b""
            body = self._notification(name, number)
            connection.sock.sendall(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
        return None

    def _receive(self, connection, result):
        more = connection.sock.recv(65536)
        if not more:
            raise ConnectionError
        connection.received += more
        head, end, body = connection.received.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        if head.split(b" ", 2)[1] == b"200":
            result.accepted.append(connection.name)
            result.durations.append(time.perf_counter() - connection.started)
        else:
            result.refused += 1
        self._idle.append(connection)

    def _notification(self, name, number):
        s3_object = {"key": f"{name}/hello.zip", **self._fields, "sequencer": f"{number:016x}"}
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": "2026-11-24T03:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "exports"}, "object": s3_object},
        }
        return json.dumps({"Records": [record]}).encode()


def _length(head):
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)
