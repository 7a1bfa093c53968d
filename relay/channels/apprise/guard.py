"""Keeps third-party code in this process from connecting to private addresses.

Apprise opens connections through several libraries. Only an audit hook of the interpreter sees
all of them.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from relay.errors import RelayError
from relay.outbound.session import HttpClientFactory

_CONNECT_EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg")

_current: ContextVar[ConnectionGuard | None] = ContextVar("_current", default=None)
_hook_installed = threading.Lock()


class ConnectionGuard:
    """Refuses addresses that are not public. `refused`: the error, which Apprise would suppress."""

    def __init__(self, outbound: HttpClientFactory) -> None:
        self._outbound = outbound
        self.refused: RelayError | None = None

    def check(self, address: Any) -> None:
        if not isinstance(address, tuple):
            return  # a local socket, such as the resolver's
        host = str(address[0])
        try:
            for resolved in _resolve(host):
                self._outbound.guard(host, resolved)
        except RelayError as error:
            self.refused = error
            # Libraries close their socket after an OSError, but not after other exceptions.
            raise PermissionError(errno.EACCES, error.code) from None


def _resolve(host: str) -> list[str]:
    """Return the addresses behind `host`; most sockets receive an address, not a name."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        return [str(result[4][0]) for result in socket.getaddrinfo(host, None)]


@contextmanager
def guarded(guard: ConnectionGuard) -> Iterator[None]:
    """Apply the guard to all connections of the block, also in threads that inherit the context."""
    if _hook_installed.acquire(blocking=False):  # never released: a hook cannot be removed
        sys.addaudithook(_audit)
    token = _current.set(guard)
    try:
        yield
    finally:
        _current.reset(token)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _CONNECT_EVENTS and (guard := _current.get()):
        guard.check(arguments[1])
