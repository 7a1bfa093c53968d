"""HTTP connections that notice an early response while sending, and limit every wait.

They change four behaviours of urllib3: a response that arrives before the body is complete (401,
413) is lost in a broken pipe; the whole body must be sent within the connect timeout; a response
that arrives byte by byte never times out; and a host name can resolve to a private address.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from urllib3.connectionpool import HTTPConnectionPool
from urllib3.response import HTTPResponse

from relay.outbound.final_response import CheckedConnection, EarlyBytes, reset_on_close

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


def checked_pools(
    pools: Mapping[str, type[HTTPConnectionPool]], options: ConnectionOptions
) -> dict[str, type[HTTPConnectionPool]]:
    """Return the pool classes of a PoolManager, by scheme, with our connections."""
    return {scheme: _checked_pool(pool, options) for scheme, pool in pools.items()}


def _checked_pool(
    pool: type[HTTPConnectionPool], options: ConnectionOptions
) -> type[HTTPConnectionPool]:
    name, bases = "Connection", (EarlyResponseConnection, pool.ConnectionCls)
    connection = type(name, bases, {"options": options, "streams": options.streams})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class EarlyResponseConnection(CheckedConnection):
    """A connection that stops sending when a response arrives, and then reads it.

    An interim response does not stop the sending.
    """

    options: ConnectionOptions
    _early: EarlyBytes
    _last_used = 0.0
    _kernel_limit = inf

    @property
    def is_connected(self) -> bool:
        """Whether urllib3 can reuse this connection."""
        return super().is_connected and monotonic() - self._last_used < MAX_IDLE

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            if self.options.guard:
                self.options.guard(self.host, sock.getpeername()[0])
        except BaseException:
            sock.close()
            raise
        self._early = EarlyBytes()
        self._kernel_limit = inf
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._early = EarlyBytes()
        try:
            super().request(*args, **kwargs)
        except BrokenPipeError:
            raise  # urllib3 then reads the response
        except BaseException:
            reset_on_close(self.sock)
            raise

    def send(self, data: Any) -> None:
        """Send bytes. An attribute `send_within` of them shortens the time-out."""
        send_within = getattr(data, "send_within", inf)
        stall = min(self.options.stall, send_within)
        with self.noting_cut_offs():
            self.begin_to_send()
            self._limit_kernel(send_within)
            # Try to send first and poll only if the buffer is full: a poll costs as much as a send.
            self.sock.settimeout(0)
            self._stop_if_answered()
            step = _TLS_RECORD if isinstance(self.sock, ssl.SSLSocket) else len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[self._send_part(rest[:step], stall) :]
            self.sock.settimeout(self.options.stall)

    def _limit_kernel(self, seconds: float) -> None:
        """Limit how long the kernel tries to transmit bytes, also while this process is stopped.

        `inf` is the default of the kernel, many minutes.
        """
        if seconds == self._kernel_limit or not hasattr(socket, "TCP_USER_TIMEOUT"):
            return
        self._kernel_limit = seconds
        milliseconds = 0 if seconds == inf else max(1, int(seconds * 1000))
        with suppress(OSError, AttributeError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)

    def _send_part(self, part: memoryview, stall: float) -> int:
        """Return the number of bytes sent, or 0 after waiting for buffer space.

        Raises TimeoutError if there is none within `stall` seconds.
        """
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
        self._wait(awaited, stall)
        return 0

    def _wait(self, awaited: int, stall: float) -> None:
        deadline = monotonic() + stall
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | awaited)
        ready = 0
        while not ready & awaited:
            seen = poll.poll(max(0, deadline - monotonic()) * 1000)
            if not seen:
                raise TimeoutError(f"the server accepted no byte for {stall:g} s")
            ready = seen[0][1]
            self._stop_if_answered()

    def _stop_if_answered(self) -> None:
        """Raise BrokenPipeError when a response has arrived."""
        while (received := self.receive(_TLS_RECORD)) is not None:
            if self._early.add(received):
                raise BrokenPipeError("a response arrived before the body was sent")

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        early = self._early.rest
        self._last_used = monotonic()
        response = self.read_response(early)
        if (early or self.was_cut_off or not self.options.reuse) and self.sock is not None:
            # After a partial body, the connection cannot carry another request.
            self.discard(self.sock)
        return response
