"""Connections that hear an answer while they still send, and wait for no answer without end.

What urllib3 leaves open, each seen to hurt: an answer that comes before the body ends (401, 413)
drowns in a broken pipe; a whole body must go out within the *connect* timeout; an answer that
drips in byte by byte never times out; a name may lead to an address inside our own network.
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
"""guard(host, address): raises when a connection to that address is not wanted."""

_TLS_RECORD = 16 * 1024

RESTED = 15.0
"""Seconds of rest after which a connection is not used again: what stands between the two sides may
have forgotten it by then without a word, and the next request would wait until it times out."""


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """How connections behave.

    `stall`: seconds in which the other side must take some bytes of a body. `guard` is asked after
    connecting, before the first byte; connections to a proxy are not its business. `reuse`:
    whether a connection carries more than one request. `streams`: answers may be long, so it is not
    their whole that must come in time, but their head and then each piece.
    """

    stall: float
    guard: Guard | None = None
    reuse: bool = True
    streams: bool = False


def pool_classes(manners: ConnectionOptions) -> dict[str, type[HTTPConnectionPool]]:
    """The connection pools to put into a PoolManager, by scheme."""

    class Plain(EarlyResponseConnection, HTTPConnection):
        pass

    class Secure(EarlyResponseConnection, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    for connection in (Plain, Secure):
        connection.manners = manners
    return {"http": PlainPool, "https": SecurePool}


class EarlyResponseConnection(HTTPConnection):
    manners: ConnectionOptions
    _ahead: bytes | None = None
    _used = 0.0

    @property
    def is_connected(self) -> bool:
        """What urllib3 asks before it uses a connection again."""
        return super().is_connected and monotonic() - self._used < RESTED

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            if self.manners.guard and self.proxy is None:
                self.manners.guard(self.host, sock.getpeername()[0])
        except BaseException:
            sock.close()
            raise
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._ahead = None
        try:
            super().request(*args, **kwargs)
        except BrokenPipeError:
            raise  # urllib3 goes on to read the answer
        except BaseException:
            self._reset_on_close()
            raise

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        # Waiting comes after trying: most tries find room, and a poll costs as much as a send.
        self.sock.settimeout(0)
        self._look(select.POLLIN, 0)
        step = _TLS_RECORD if isinstance(self.sock, ssl.SSLSocket) else len(data)
        rest = memoryview(data)
        while rest:
            rest = rest[self._try(rest[:step]) :]
        self.sock.settimeout(self.manners.stall)

    def _try(self, part: memoryview) -> int:
        """How many bytes were taken; 0 after waiting for room."""
        missing = select.POLLOUT
        try:
            count: int = self.sock.send(part)
            return count
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass  # no room: waited for below
        except ssl.SSLWantReadError:
            missing = select.POLLIN
        except OSError as error:
            # Not every kind of break is one that urllib3 reads the answer after.
            raise BrokenPipeError(*error.args) from error
        while not (ready := self._look(select.POLLIN | missing, self.manners.stall)) & missing:
            if not ready:
                raise TimeoutError(f"no byte was taken for {self.manners.stall:g} s")
        return 0

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        sock, heard, self._used = self.sock, self._ahead is not None, monotonic()
        seconds = self.timeout or self.manners.stall
        self.sock = answer = _AnswerSocket(sock, self._ahead or b"", monotonic() + seconds)
        try:
            response = super().getresponse()
        finally:
            if self.sock is not None:
                self.sock = sock
        if self.manners.streams:
            answer.file.patience = seconds
        if (heard or not self.manners.reuse) and self.sock is not None:
            # After a body that was cut off nothing else can be sent here. The answer has its own
            # handle of the socket; close() would close the answer as well.
            self.sock.close()
            self.sock = None
        return response

    def _look(self, events: int, seconds: float) -> int:
        """Which of these events came within the time; BrokenPipeError when an answer did."""
        poll = select.poll()
        poll.register(self.sock, events)
        ready = poll.poll(seconds * 1000)
        seen = ready[0][1] if ready else 0
        if seen & ~select.POLLOUT:
            self._ahead = self._read_ahead()
            if self._ahead is not None:
                raise BrokenPipeError("an answer came before the body was sent")
        return seen

    def _read_ahead(self) -> bytes | None:
        # TLS 1.3 sends session tickets after the handshake: readable need not mean an answer.
        try:
            ahead: bytes = self.sock.recv(1)
            return ahead
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError:
            return b""

    def _reset_on_close(self) -> None:
        # What the kernel still holds is dropped: a body that we stop can never become whole.
        with suppress(OSError, AttributeError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _AnswerSocket:
    """What http.client takes for the socket while it reads an answer."""

    def __init__(self, sock: Any, ahead: bytes, deadline: float) -> None:
        self._sock = sock
        self.file = _AnswerFile(sock, ahead, deadline)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(self.file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _AnswerFile(io.RawIOBase):
    def __init__(self, sock: Any, ahead: bytes, deadline: float) -> None:
        super().__init__()
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._ahead = ahead
        self._deadline = deadline
        self.patience: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._ahead:
            buffer[:1], self._ahead = self._ahead, b""
            return 1
        left = self.patience or self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(left)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
