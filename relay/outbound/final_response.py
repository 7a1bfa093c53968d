"""Connections that return final responses only, and that are not reused after stray bytes.

They change four behaviours of urllib3 and http.client: an interim response (RFC 9110 §15.2) other
than 100 is taken for the final one; bytes that belong to no response are read as the response to
the next request; a response whose headers arrive byte by byte never times out; and after a response
that timed out or failed, the kernel still sends what it holds of the request.
"""

from __future__ import annotations

import http.client
import io
import re
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from time import monotonic
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse

MAX_INTERIM = 20
"""Interim responses to a request that are skipped; with more, the response counts as lost."""

NOT_CONNECTED = "No connection was established."
NOT_SENT = "The request was not sent completely."
"""Notes on exceptions: the server cannot have carried out the request."""

_LONGEST_HEAD = 64 * 1024
_DEFAULT_TIMEOUT = 60.0
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] 1(?!01)[0-9][0-9](?=[ \r\n])[^\n]*\n")
_INTERIM = re.compile(_STATUS_LINE.pattern + rb"(?:[^\r\n][^\n]*\n)*\r?\n")


class FinalResponse(http.client.HTTPResponse):
    """A response without the interim ones before it. http.client itself skips only 100."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200:
                return version, status, reason
            if status == http.HTTPStatus.SWITCHING_PROTOCOLS:
                raise http.client.BadStatusLine("101 without an Upgrade in the request")
            http.client.parse_headers(self.fp)
        raise too_many_interim_responses()


def too_many_interim_responses() -> http.client.HTTPException:
    return http.client.HTTPException(f"more than {MAX_INTERIM} interim responses")


class EarlyBytes:
    """The bytes that arrive while a request is sent, without the interim responses in them."""

    def __init__(self) -> None:
        self.rest = b""
        self._interim = 0

    def add(self, received: bytes) -> bool:
        """Return whether a final response, or anything else that is not HTTP, has arrived.

        `received` is empty at the end of the connection. Raises HTTPException if there are too
        many interim responses.
        """
        self.rest += received
        while match := _INTERIM.match(self.rest):
            self.rest = self.rest[match.end() :]
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise too_many_interim_responses()
        return not received or len(self.rest) > _LONGEST_HEAD or self._is_final()

    def _is_final(self) -> bool:
        return b"\n" in self.rest and not _STATUS_LINE.match(self.rest)


class CheckedConnection(HTTPConnection):
    """A connection that skips interim responses and is closed after stray bytes.

    Exceptions have the note NOT_CONNECTED or NOT_SENT if that is so. `streams`: responses may be
    long, so the timeout applies to the headers and then to each read, not to the whole response.
    """

    response_class = FinalResponse
    streams = True
    _has_begun = False
    was_cut_off = False

    @property
    def is_connected(self) -> bool:
        """Whether urllib3 can reuse this connection."""
        return super().is_connected and not _decrypted_bytes(self.sock)

    def connect(self) -> None:
        try:
            super().connect()
        except Exception as error:
            error.add_note(NOT_CONNECTED)
            raise

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._has_begun = self.was_cut_off = False
        super().request(*args, **kwargs)

    def send(self, data: Any) -> None:
        with self.noting_cut_offs():
            self.begin_to_send()
            super().send(data)

    @contextmanager
    def noting_cut_offs(self) -> Iterator[None]:
        """Add the note NOT_SENT to an exception while bytes of a request are sent."""
        try:
            yield
        except Exception as error:
            self.was_cut_off = True
            error.add_note(NOT_SENT)
            raise

    def begin_to_send(self) -> None:
        """Connect if necessary; raise ConnectionError if the server sent bytes before a request."""
        if self.sock is None:
            self.connect()
        if self._has_begun:
            return
        self._has_begun = True
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        if self.receive(1) is not None:
            # Without an errno: urllib3 then does not look for a response.
            raise ConnectionError("the server sent bytes before the request, or hung up")
        self.sock.settimeout(timeout)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        return self.read_response(b"")

    def read_response(self, early: bytes) -> HTTPResponse:
        """Read a response of which the bytes `early` have already been received."""
        sock = self.sock
        seconds = self.timeout or _DEFAULT_TIMEOUT
        file = _ResponseFile(sock, early, monotonic() + seconds, partial(self.discard, sock))
        self.sock = _ResponseSocket(sock, file)
        try:
            response = super().getresponse()
        except Exception as error:
            reset_on_close(sock)
            if self.was_cut_off:
                error.add_note(NOT_SENT)
            raise
        finally:
            if self.sock is not None:
                self.sock = sock
        if self.streams:
            file.read_timeout = seconds
        return response

    def receive(self, size: int) -> bytes | None:
        """Return the bytes that have arrived at a non-blocking socket; b"" at the end, or None.

        TLS 1.3 sends session tickets after the handshake: readable may not mean a response.
        """
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(0) and not _decrypted_bytes(self.sock):
            return None
        try:
            received: bytes = self.sock.recv(size)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError:
            return b""
        return received

    def discard(self, sock: Any) -> None:
        """Close the socket, but not the response, which has a handle of its own."""
        sock.close()
        if self.sock is sock:
            self.sock = None


def reset_on_close(sock: Any) -> None:
    """Drop what the kernel still holds when the socket is closed: it can never arrive later."""
    with suppress(OSError, AttributeError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _decrypted_bytes(sock: Any) -> int:
    """The number of bytes that a TLS socket has decrypted and poll() does not see."""
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0


class _ResponseSocket:
    """The socket that http.client reads a response from."""

    def __init__(self, sock: Any, file: _ResponseFile) -> None:
        self._sock = sock
        self._file = file

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return _ResponseReader(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _ResponseReader(io.BufferedReader):
    """Notices at the end of a response that more bytes than the response were received."""

    raw: _ResponseFile

    def close(self) -> None:
        if not self.closed:
            self.raw.has_ended = True
            if self.peek(1):
                self.raw.on_stray_bytes()
        super().close()


class _ResponseFile(io.RawIOBase):
    def __init__(
        self, sock: Any, early: bytes, deadline: float, on_stray_bytes: Callable[[], None]
    ) -> None:
        super().__init__()
        self.on_stray_bytes = on_stray_bytes
        self.read_timeout: float | None = None
        self.has_ended = False
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._early = early
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._early:
            some = self._early[: len(buffer)]
            self._early = self._early[len(some) :]
            buffer[: len(some)] = some
            return len(some)
        if self.has_ended:
            return 0
        count: int | None = 0
        try:
            count = self._receive(buffer)
        finally:
            if not count:  # an error, or the end of the connection
                reset_on_close(self._sock)
        return count

    def _receive(self, buffer: Any) -> int | None:
        seconds = self.read_timeout or self._deadline - monotonic()
        if seconds <= 0:
            raise TimeoutError("the response did not end in time")
        self._sock.settimeout(seconds)
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
