"""Stand-ins that cost little: a sink that takes imports and discards them, and a store of one file.

    python servers.py sink                 FunctionGraph's import, and IAM's tokens
    python servers.py store DELAY FILE...  an S3 store: its keys are the files' names, and each
                                           answer waits DELAY seconds
    python servers.py drain                no protocol: reads until the end, then answers one byte

Each prints its port, and runs until it is killed. `GET /told` of sink and store answers what they
saw since the last time, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

BLOCK = 256 * 1024
LANDED = {"func_urn": "urn:fss:cn-north-4:0:function:default:hello", "func_name": "hello"}
TOKEN = {"token": {"expires_at": "2099-01-01T00:00:00.000000Z"}}


class Told:
    """What a server saw, for many threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._seen = {"requests": 0, "bytes": 0}

    def add(self, count):
        with self._lock:
            self._seen["requests"] += 1
            self._seen["bytes"] += count

    def take(self):
        with self._lock:
            seen, self._seen = self._seen, {"requests": 0, "bytes": 0}
        return seen


class Connection:
    """HTTP/1.1, as much of it as clients of these servers say."""

    def __init__(self, sock):
        self.sock = sock
        self._ahead = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def head(self):
        """(method, path, headers by lower-case name); None: the other side is done."""
        said = self._ahead
        while b"\r\n\r\n" not in said:
            more = self.sock.recv(65536)
            if not more:
                return None
            said += more
        head, _, self._ahead = said.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in rest)
        return method, path, {name.lower(): value.strip() for name, value in pairs}

    def body(self, length):
        """Reads a body; its beginning, no more."""
        if length and not self._ahead:
            self._ahead = self.sock.recv(min(length, 4096))
        start = self._ahead
        self.discard(length)
        return start

    def discard(self, length):
        """Reads a body and keeps nothing of it."""
        buffer = bytearray(BLOCK)
        left = length - len(self._ahead)
        self._ahead = b""
        while left:
            count = self.sock.recv_into(buffer, min(left, BLOCK))
            if not count:
                raise ConnectionError("a body ended early")
            left -= count

    def answer(self, status, headers, body=b""):
        lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + body)


def serve_sink(seen, connection, _):
    while asked := connection.head():
        method, path, headers = asked
        length = int(headers.get("content-length", 0))
        connection.discard(length)
        if path == "/told":
            connection.answer(200, [], json.dumps(seen.take()).encode())
        elif path.startswith("/v3/auth/tokens"):
            connection.answer(201, ["X-Subject-Token: t"], json.dumps(TOKEN).encode())
        elif method == "POST":
            seen.add(length)
            answer = ["Content-Type: application/json", "X-Request-Id: r"]
            connection.answer(200, answer, json.dumps(LANDED).encode())
        else:
            connection.answer(404, [], b'{"error_code": "FSS.1051", "error_msg": "none"}')


def serve_store(seen, connection, arguments):
    delay, *files = arguments
    there = {Path(file).name: Path(file) for file in files}
    while asked := connection.head():
        method, where, headers = asked
        if where == "/told":
            connection.answer(200, [], json.dumps(seen.take()).encode())
            continue
        time.sleep(float(delay))
        path = there[where.rpartition("/")[2]]
        size = path.stat().st_size
        start, end = 0, size
        if given := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", "")):
            start, end = int(given[1]), min(size, int(given[2] or size) + 1)
        lines = [
            f"HTTP/1.1 {206 if given else 200} Told",
            f"Content-Length: {end - start}",
            f'ETag: "{described(path)["etag"]}"',
            "Last-Modified: Tue, 24 Nov 2026 00:00:00 GMT",
            "Accept-Ranges: bytes",
            *([f"Content-Range: bytes {start}-{end - 1}/{size}"] if given else []),
        ]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        seen.add(0 if method == "HEAD" else end - start)
        with path.open("rb") as file:
            while method != "HEAD" and start < end:
                start += os.sendfile(connection.sock.fileno(), file.fileno(), start, end - start)


def described(path):
    """What a notification says of the file that the store has there."""
    etag = hashlib.sha256(path.name.encode()).hexdigest()[:32]
    return {"size": path.stat().st_size, "etag": etag}


def serve_drain(_, connection, __):
    buffer = bytearray(BLOCK)
    while connection.sock.recv_into(buffer):
        pass
    connection.sock.sendall(b"x")


@contextmanager
def running(kind, *arguments):
    """The port of a server in a process of its own."""
    command = [sys.executable, __file__, kind, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def told(port):
    """What the server at that port saw since it was last asked."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /told HTTP/1.1\r\n\r\n")
        head = b""
        while b"}" not in head:
            head += sock.recv(4096)
    return json.loads(head.partition(b"\r\n\r\n")[2])


say = partial(print, flush=True)


def main(kind, *arguments):
    serve = {"sink": serve_sink, "store": serve_store, "drain": serve_drain}[kind]
    seen = Told()

    def serve_one(sock):
        with sock:
            try:
                serve(seen, Connection(sock), arguments)
            except ConnectionError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        say(listening.getsockname()[1])
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
