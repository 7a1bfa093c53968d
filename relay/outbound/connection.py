"""HTTP connections that notice an early response while sending, and limit every wait.

They change four behaviours of urllib3: a response that arrives before the body is complete (401,
413) is lost in a broken pipe; the whole body must be sent within the connect timeout; a response
that arrives byte by byte never times out; and a host name can resolve to a private address.
"""

from __future__ import annotations

import io
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import HTTPResponse

Guard = Callable[[str, str], None]
"""guard(host, address) raises when connections to the address are not allowed."""

_TLS_RECORD = 16 * 1024

MAX_IDLE = 15.0
"""Seconds after which an idle connection is not reused. A firewall or proxy may have dropped it
silently, and the next request would then time out."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """The behaviour of connections.

    `stall`: seconds within which the server must accept more bytes of a body. `guard`: called
    after connecting and before the first byte, but not for connections to a proxy. `reuse`:
    whether a connection carries more than one request. `streams`: responses may be long, so the
    time limit applies to the headers and then to each read, not to the whole response.
    """

    stall: float
    guard: Guard | None = None
    reuse: bool = True
    streams: bool = False


def pool_classes(options: ConnectionOptions) -> dict[str, type[HTTPConnectionPool]]:
    """Create the connection pool classes for a PoolManager, by scheme."""

    class Plain(EarlyResponseConnection, HTTPConnection):
        pass

    class Secure(EarlyResponseConnection, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    for connection in (Plain, Secure):
        connection.options = options
    return {"http": PlainPool, "https": SecurePool}


class EarlyResponseConnection(HTTPConnection):
    """A connection that stops sending when a response arrives, and then reads it."""

    options: ConnectionOptions
    _early_byte: bytes | None = None
    _last_used = 0.0

    @property
    def is_connected(self) -> bool:
        """Whether urllib3 can reuse this connection."""
        return super().is_connected and monotonic() - self._last_used < MAX_IDLE

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            if self.options.guard and self.proxy is None:
                self.options.guard(self.host, sock.getpeername()[0])
        except BaseException:
            sock.close()
            raise
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._early_byte = None
        try:
            super().request(*args, **kwargs)
        except BrokenPipeError:
            raise  # urllib3 then reads the response
        except BaseException:
            self._reset_on_close()
            raise

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        # Try to send first and poll only if the buffer is full: a poll costs as much as a send.
        self.sock.settimeout(0)
        self._poll(select.POLLIN, 0)
        step = _TLS_RECORD if isinstance(self.sock, ssl.SSLSocket) else len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._send_part(rest[:step]) :]
        self.sock.settimeout(self.options.stall)

    def _send_part(self, part: memoryview) -> int:
        """Return the number of bytes sent, or 0 after waiting for buffer space."""
        awaited = select.POLLOUT
        try:
            count: int = self.sock.send(part)
            return count
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass  # the buffer is full
        except ssl.SSLWantReadError:
            awaited = select.POLLIN
        except OSError as error:
            # urllib3 reads the response only after a BrokenPipeError.
            raise BrokenPipeError(*error.args) from error
        while not (ready := self._poll(select.POLLIN | awaited, self.options.stall)) & awaited:
            if not ready:
                raise TimeoutError(f"the server accepted no byte for {self.options.stall:g} s")
        return 0

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        sock, is_early = self.sock, self._early_byte is not None
        self._last_used = monotonic()
        seconds = self.timeout or self.options.stall
        deadline = self._last_used + seconds
        self.sock = response_socket = _ResponseSocket(sock, self._early_byte or b"", deadline)
        try:
            response = super().getresponse()
        finally:
            if self.sock is not None:
                self.sock = sock
        if self.options.streams:
            response_socket.file.read_timeout = seconds
        if (is_early or not self.options.reuse) and self.sock is not None:
            # After a partial body, the connection cannot carry another request. The response has
            # a separate handle of the socket; self.close() would close the response too.
            self.sock.close()
            self.sock = None
        return response

    def _poll(self, events: int, seconds: float) -> int:
        """Wait for socket events; BrokenPipeError when a response has arrived."""
        poll = select.poll()
        poll.register(self.sock, events)
        ready = poll.poll(seconds * 1000)
        seen = ready[0][1] if ready else 0
        if seen & ~select.POLLOUT:
            self._early_byte = self._read_byte()
            if self._early_byte is not None:
                raise BrokenPipeError("a response arrived before the body was sent")
        return seen

    def _read_byte(self) -> bytes | None:
        # TLS 1.3 sends session tickets after the handshake: readable may not mean a response.
        try:
            byte: bytes = self.sock.recv(1)
            return byte
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError:
            return b""

    def _reset_on_close(self) -> None:
        # Drop what the kernel still buffers, so that a cancelled body can never become complete.
        with suppress(OSError, AttributeError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _ResponseSocket:
    """The socket that http.client reads a response from."""

    def __init__(self, sock: Any, early_byte: bytes, deadline: float) -> None:
        self._sock = sock
        self.file = _ResponseFile(sock, early_byte, deadline)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(self.file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _ResponseFile(io.RawIOBase):
    def __init__(self, sock: Any, early_byte: bytes, deadline: float) -> None:
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._early_byte = early_byte
        self._deadline = deadline
        self.read_timeout: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._early_byte:
            buffer[:1], self._early_byte = self._early_byte, b""
            return 1
        seconds = self.read_timeout or self._deadline - monotonic()
        if seconds <= 0:
            raise TimeoutError("the response did not end in time")
        self._sock.settimeout(seconds)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
