"""Cheap servers: a sink that discards imports, an S3 store of files, and a drain.

    python servers.py sink                 FunctionGraph imports and IAM tokens
    python servers.py store DELAY FILE...  an S3 store with the file names as keys; each response
                                           waits DELAY seconds
    python servers.py drain                no protocol: reads to the end, then sends a byte

Each prints the port and runs until it is killed. `GET /counts` of sink and store returns the
requests and bytes since the last call, as JSON.
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
_PROJECT = "0" * 32
_URN = f"urn:fss:cn-north-4:{_PROJECT}:function:default:hello"
IMPORTED = {"func_urn": _URN, "func_name": "hello"}
TOKEN = {"token": {"expires_at": "2099-01-01T00:00:00.000000Z"}}


class Counts:
    """Requests and bytes that a server has received; thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts = {"requests": 0, "bytes": 0}

    def add(self, count):
        with self._lock:
            self._counts["requests"] += 1
            self._counts["bytes"] += count

    def take(self):
        with self._lock:
            counts, self._counts = self._counts, {"requests": 0, "bytes": 0}
        return counts


class Connection:
    """The part of HTTP/1.1 that the clients of these servers use."""

    def __init__(self, sock):
        self.sock = sock
        self._buffered = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def head(self):
        """Return (method, path, headers by lower-case name), or None at the end."""
        received = self._buffered
        while b"\r\n\r\n" not in received:
            more = self.sock.recv(65536)
            if not more:
                return None
            received += more
        head, _, self._buffered = received.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in rest)
        return method, path, {name.lower(): value.strip() for name, value in pairs}

    def body(self, length):
        """Read a body and return only the first bytes."""
        if length and not self._buffered:
            self._buffered = self.sock.recv(min(length, 4096))
        start = self._buffered
        self.discard(length)
        return start

    def discard(self, length):
        """Read a body and discard it."""
        buffer = bytearray(BLOCK)
        left = length - len(self._buffered)
        self._buffered = b""
        while left:
            count = self.sock.recv_into(buffer, min(left, BLOCK))
            if not count:
                raise ConnectionError("a body ended early")
            left -= count

    def respond(self, status, headers, body=b""):
        lines = [f"HTTP/1.1 {status} Response", f"Content-Length: {len(body)}", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + body)


def serve_sink(counts, connection, _):
    while request := connection.head():
        method, path, headers = request
        length = int(headers.get("content-length", 0))
        connection.discard(length)
        if path == "/counts":
            connection.respond(200, [], json.dumps(counts.take()).encode())
        elif path.startswith("/v3/auth/tokens"):
            connection.respond(201, ["X-Subject-Token: t"], json.dumps(TOKEN).encode())
        elif method == "POST":
            counts.add(length)
            headers = ["Content-Type: application/json", "X-Request-Id: r"]
            connection.respond(200, headers, json.dumps(IMPORTED).encode())
        else:
            connection.respond(404, [], b'{"error_code": "FSS.1051", "error_msg": "none"}')


def serve_store(counts, connection, arguments):
    delay, *files = arguments
    paths = {Path(file).name: Path(file) for file in files}
    while request := connection.head():
        method, target, headers = request
        if target == "/counts":
            connection.respond(200, [], json.dumps(counts.take()).encode())
            continue
        time.sleep(float(delay))
        path = paths[target.rpartition("/")[2]]
        size = path.stat().st_size
        start, end = 0, size
        if requested := re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("range", "")):
            start, end = int(requested[1]), min(size, int(requested[2] or size) + 1)
        lines = [
            f"HTTP/1.1 {206 if requested else 200} Response",
            f"Content-Length: {end - start}",
            f'ETag: "{object_fields(path)["etag"]}"',
            "Last-Modified: Tue, 24 Nov 2026 00:00:00 GMT",
            "Accept-Ranges: bytes",
            *([f"Content-Range: bytes {start}-{end - 1}/{size}"] if requested else []),
        ]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        counts.add(0 if method == "HEAD" else end - start)
        with path.open("rb") as file:
            while method != "HEAD" and start < end:
                start += os.sendfile(connection.sock.fileno(), file.fileno(), start, end - start)


def object_fields(path):
    """Return size and ETag of the file, as a notification has them."""
    etag = hashlib.sha256(path.name.encode()).hexdigest()[:32]
    return {"size": path.stat().st_size, "etag": etag}


def serve_drain(_, connection, __):
    buffer = bytearray(BLOCK)
    while connection.sock.recv_into(buffer):
        pass
    connection.sock.sendall(b"x")


@contextmanager
def running(kind, *arguments):
    """Start a server in a separate process and yield the port."""
    command = [sys.executable, __file__, kind, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def take_counts(port):
    """Return the counts of the server since the last call."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(b"GET /counts HTTP/1.1\r\n\r\n")
        head = b""
        while b"}" not in head:
            head += sock.recv(4096)
    return json.loads(head.partition(b"\r\n\r\n")[2])


say = partial(print, flush=True)


def main(kind, *arguments):
    serve = {"sink": serve_sink, "store": serve_store, "drain": serve_drain}[kind]
    counts = Counts()

    def serve_one(sock):
        with sock:
            try:
                serve(counts, Connection(sock), arguments)
            except ConnectionError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        say(listening.getsockname()[1])
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=serve_one, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
