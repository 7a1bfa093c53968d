"""An HTTP/1.1 server on a thread that can slow, cut and reset connections, and stops cleanly.

werkzeug's own handler closes every connection and drains it into memory; this one keeps connections
alive, answers before a body was read, and then reads on for a while (a lingering close, as real
gateways do), so that the sender sees the answer and not a reset.
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
from dataclasses import dataclass
from io import BufferedIOBase, RawIOBase
from typing import Any, cast

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from relay.errors import ConfigError
from relay.model import Localized

log = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

LINGER = 10.0
"""Seconds for which an early-answered sender may go on sending before it is cut off."""

QUIET = 1.0
"""Seconds of silence after which nobody lingers any longer."""

TICK = 0.05
"""Seconds between two reads of a slowed body."""

_RESET = struct.pack("ii", 1, 0)


class Cut(Exception):
    """The body was not to be read any further: a fault asked for it."""


class SenderGone(ConnectionError):
    """The connection ended before the body did."""


class RequestBody(RawIOBase):
    """A request's body as it comes in. `rate` (bytes/s) slows it, `cut_after` (bytes) ends it.

    `sha256` is of all that was read, if `hashed` was set before the first read; `on_read` is told
    how many bytes are in.
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
        """What has arrived, up to the buffer. Raises Cut, or SenderGone when it ends too early."""
        if not self.left:
            return 0
        view = memoryview(buffer)[: self._allowed(len(buffer))]
        try:
            got = self._stream.readinto1(view)
        except ConnectionError as error:
            raise SenderGone from error
        if not got:
            raise SenderGone
        if self.hashed:
            self._sha256.update(view[:got])
        self.received += got
        if self.on_read is not None:
            self.on_read(self.received)
        return got

    def _allowed(self, wanted: int) -> int:
        size = min(wanted, self.left)
        if self.cut_after is not None:
            size = min(size, self.cut_after - self.received)
            if size <= 0:
                raise Cut
        if self.rate:
            size = min(size, max(1, int(self.rate * TICK)))
            self._stopping.wait(size / self.rate)
        return size

    def drain(self) -> None:
        """Reads the rest and forgets it."""
        while self.read(1 << 18):
            pass

    def drop(self) -> None:
        """No answer: the connection will be reset (RST)."""
        self.dropped = True


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        server = cast("LoopbackServer", self.server)
        length = self._length()
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
                self._answer(head, chunks, body)
        finally:
            close: Callable[[], None] | None = getattr(chunks, "close", None)
            if close is not None:
                close()

    def _length(self) -> int | None:
        """Of the body; None after an answer that says what is wrong with the sender's framing."""
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

    def _answer(self, head: list[Any], chunks: Iterable[bytes], body: RequestBody) -> None:
        status, headers = head[0], head[1]
        if not any(name.lower() == "content-length" for name, _ in headers):
            chunks = [b"".join(chunks)]
            if not status.startswith(("204", "304")):
                headers = [*headers, ("Content-Length", str(len(chunks[0])))]
        code, _, words = status.partition(" ")
        self.send_response_only(int(code), words)
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
            self.connection.settimeout(QUIET)
            while time.monotonic() < end and self.connection.recv(1 << 16):
                pass

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ARG002 - werkzeug's
        log.debug(message, *args)


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen; port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 0
    allow_remote: bool = False


class LoopbackServer(ThreadedWSGIServer):
    """Serves `application` at `url` from start() to close().

    Raises ConfigError for a host that is not loopback unless the place allows it.
    """

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(
        self, application: WsgiApp, place: ListenAddress, stopping: threading.Event | None = None
    ) -> None:
        host, port = place.host, place.port
        if not place.allow_remote and not is_loopback(host):
            raise ConfigError(
                "host",
                Localized(f"{host} can be reached by others", f"{host} 可以被其他机器访问"),
                Localized(
                    "use 127.0.0.1, or allow it expressly (allow_remote)",
                    "请使用 127.0.0.1，或明确允许（allow_remote）",
                ),
            )
        self.application = application
        self.stopping = stopping or threading.Event()
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        # werkzeug exits the whole process when it cannot bind: it gets a socket that is bound.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family, backlog=128) as bound:
            super().__init__(host, port, cast(Any, application), _Handler, fd=bound.fileno())
        self.port = int(self.socket.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self._thread = threading.Thread(
            target=self.serve_forever, args=(TICK,), name=f"sandbox {self.port}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends every connection and waits until each of its threads has ended."""
        self.stopping.set()
        if self._thread.is_alive():
            self.shutdown()
        with self._guard:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        if self._thread.ident is not None:
            self._thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        linger = request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(_RESET))
        if linger == _RESET:
            request.close()  # an orderly shutdown would send FIN first
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - inherited
        log.error("sandbox connection failed", exc_info=True)  # noqa: LOG014 - called while it is handled


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach (or is) that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
