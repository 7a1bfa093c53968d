"""An HTTP/1.1 server in a thread that can slow down, interrupt and reset connections.

The handler of werkzeug closes every connection and reads bodies into memory. This handler keeps
connections alive and can respond before the body was read. It then reads on for a while (a
lingering close, like real gateways), so that the sender receives the response and not a reset.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from io import BufferedIOBase, RawIOBase
from typing import Any, Self, cast

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from relay.errors import ConfigError
from relay.model import Localized
from relay.testing.sandbox.faults import OPERATIONS, Fault, FaultQueue, make_fault

log = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LINGER = 10.0
"""Seconds that a sender may continue to send after an early response."""

LINGER_IDLE = 1.0
"""Seconds without data after which lingering ends."""

TICK = 0.05
"""Seconds between two reads of a slowed-down body."""

_RESET = struct.pack("ii", 1, 0)


class ReadStopped(Exception):
    """A fault stopped reading the body."""


class SenderGone(ConnectionError):
    """The connection ended before the end of the body."""


class RequestBody(RawIOBase):
    """A request body. `rate` limits the bytes per second, `cut_after` the number of bytes.

    `sha256` is the digest of the received bytes if `hashed` was set before the first read.
    `on_read` is called with the number of received bytes.
    """

    def __init__(self, stream: BufferedIOBase, length: int, stopping: threading.Event) -> None:
        self._stream = stream
        self._stopping = stopping
        self._sha256 = hashlib.sha256()
        self.length = length
        self.received = 0
        self.hashed = False
        self.rate: int | None = None
        self.cut_after: int | None = None
        self.dropped = False
        self.on_read: Callable[[int], None] | None = None

    @property
    def left(self) -> int:
        return self.length - self.received

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read received bytes. Raises ReadStopped, or SenderGone at an early end."""
        if not self.left:
            return 0
        view = memoryview(buffer)[: self._allowed(len(buffer))]
        try:
            count = self._stream.readinto1(view)
        except ConnectionError as error:
            raise SenderGone from error
        if not count:
            raise SenderGone
        if self.hashed:
            self._sha256.update(view[:count])
        self.received += count
        if self.on_read is not None:
            self.on_read(self.received)
        return count

    def _allowed(self, wanted: int) -> int:
        size = min(wanted, self.left)
        if self.cut_after is not None:
            size = min(size, self.cut_after - self.received)
            if size <= 0:
                raise ReadStopped
        if self.rate:
            size = min(size, max(1, int(self.rate * TICK)))
            self._stopping.wait(size / self.rate)
        return size

    def drain(self) -> None:
        """Read and discard the rest."""
        while self.read(1 << 18):
            pass

    def drop(self) -> None:
        """Reset the connection (RST) instead of responding."""
        self.dropped = True


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        server = cast("LoopbackServer", self.server)
        length = self._body_length()
        if length is None:
            return
        body = RequestBody(self.rfile, length, server.stopping)
        environ = self.make_environ() | {"wsgi.input": body}
        head: list[Any] = []
        chunks = server.application(environ, lambda *given: head.extend(given))
        try:
            if body.dropped:
                self._reset()
            else:
                self._respond(head, chunks, body)
        finally:
            close: Callable[[], None] | None = getattr(chunks, "close", None)
            if close is not None:
                close()

    def _body_length(self) -> int | None:
        """Return the length of the body, or None after an error response for a wrong length."""
        text = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers:
            self.send_error(411, "Length Required")
        elif not (text.isascii() and text.isdigit() and len(text) < 19):
            self.send_error(400, "Bad Content-Length")
        else:
            return int(text)
        self.close_connection = True
        self._linger()
        return None

    def _respond(self, head: list[Any], chunks: Iterable[bytes], body: RequestBody) -> None:
        status, headers = head[0], head[1]
        if not any(name.lower() == "content-length" for name, _ in headers):
            chunks = [b"".join(chunks)]
            if not status.startswith(("204", "304")):
                headers = [*headers, ("Content-Length", str(len(chunks[0])))]
        code, _, reason = status.partition(" ")
        self.send_response_only(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if body.left:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            for chunk in chunks:
                self.wfile.write(chunk)
        if self.close_connection:
            self._linger()

    def _linger(self) -> None:
        end = time.monotonic() + LINGER
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(LINGER_IDLE)
            while time.monotonic() < end and self.connection.recv(1 << 16):
                pass

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ARG002 - werkzeug's
        log.debug(message, *args)


class FaultyServer:
    """Serves at `url` with simulated faults, as a context manager or from start() to close()."""

    operations: tuple[str, ...] = OPERATIONS
    """The operations of which calls can fail."""
    host: str
    port: int
    allow_remote: bool

    def __init__(self) -> None:
        self.faults = FaultQueue()
        self.stopping = threading.Event()
        self._server: LoopbackServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The base URL, available after start()."""
        if self._server is None:
            raise RuntimeError("the server was not started")
        return self._server.url

    def fault(self, **fields: Any) -> Fault:
        """Queue a fault with the fields of `Fault`. Raises ConfigError."""
        fault = make_fault(fields, self.operations)
        self.faults.add(fault)
        return fault

    def start(self) -> None:
        """Start serving. Raises ConfigError for a public address, OSError for a port in use."""
        self.stopping = threading.Event()
        self._server = LoopbackServer(
            self._application(),
            self.host,
            self.port,
            allow_remote=self.allow_remote,
            stopping=self.stopping,
        )
        self._server.start()

    def close(self) -> None:
        """Close connections and end threads. Can be called again."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _application(self) -> WsgiApp:
        raise NotImplementedError


class LoopbackServer(ThreadedWSGIServer):
    """Serves `application` at `url` from start() to close().

    Port 0 selects a free port. Raises ConfigError for a host that is not loopback, unless
    `allow_remote` is set.
    """

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(
        self,
        application: WsgiApp,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        allow_remote: bool = False,
        stopping: threading.Event | None = None,
    ) -> None:
        if not allow_remote and not is_loopback(host):
            raise ConfigError(
                "host",
                Localized(f"{host} is reachable from other machines", f"{host} 可以被其他机器访问"),
                Localized(
                    "use 127.0.0.1, or set allow_remote",
                    "请使用 127.0.0.1，或设置 allow_remote",
                ),
            )
        self.application = application
        self.stopping = stopping or threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        # werkzeug exits the process if it cannot bind, so it gets a bound socket.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=128) as bound:
            super().__init__(host, port, cast(Any, application), _Handler, fd=bound.fileno())
        self.port = int(self.socket.getsockname()[1])
        url_host = f"[{host}]" if ":" in host else host
        self.url = f"http://{url_host}:{self.port}"
        self._thread = threading.Thread(
            target=self.serve_forever, args=(TICK,), name=f"sandbox {self.port}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Close all connections and wait for their threads."""
        self.stopping.set()
        if self._thread.is_alive():
            self.shutdown()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        if self._thread.ident is not None:
            self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET))
        if linger == _RESET:
            request.close()  # an orderly shutdown would send FIN first
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - inherited
        log.error("sandbox connection failed", exc_info=True)  # noqa: LOG014 - called in an except block


def is_loopback(host: str) -> bool:
    """Return whether the host is a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
