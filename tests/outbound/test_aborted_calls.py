"""A call without a response is aborted: bytes that the kernel still holds never arrive later."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from relay.errors import OutcomeUnknown
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory
from relay.targets.changes import LastBytes
from tests.outbound.servers import OK, Server, serving

BODY = b"x" * 60_000


class SmallWindow(Server):
    """A server whose kernel accepts only a few KB before `script` reads them."""

    def _accept(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        super()._accept()


class Body:
    """A body that ends with LastBytes."""

    def __init__(self, send_within: float) -> None:
        self._end = LastBytes(b"y" * 512)
        self._end.send_within = send_within

    def __len__(self) -> int:
        return len(BODY) + len(self._end)

    def __iter__(self) -> Iterator[bytes]:
        yield BODY
        yield self._end


@pytest.fixture(autouse=True)
def _small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.outbound.servers.Server", SmallWindow)


def never(self: Server, connection: socket.socket) -> None:
    """Send no response."""


def interim(self: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


def headers(self: Server, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")


def nonsense(self: Server, connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-server\r\n")


@pytest.mark.parametrize("respond", [never, interim, headers, nonsense])
def test_the_rest_of_a_call_that_failed_never_arrives(
    respond: Callable[[Server, socket.socket], None],
) -> None:
    failed = threading.Event()
    received = []

    def script(self: Server, connection: socket.socket) -> None:
        received.append(len(connection.recv(100)))
        self.done.wait(0.3)  # until the client has sent everything
        respond(self, connection)
        failed.wait(10)
        while some := connection.recv(2**16):
            received.append(len(some))

    outbound = HttpClientFactory(read_timeout=0.8)
    with serving(script) as server, outbound.session(guarded=False) as client:
        with pytest.raises(requests.RequestException) as lost:
            client.post(server.url, data=Body(5))
        failed.set()
    assert isinstance(translate(lost.value, sent=True), OutcomeUnknown)
    assert sum(received) < len(BODY)
    assert [type(error) for error in server.errors] == [ConnectionResetError]


@pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the platform has no such limit"
)
def test_the_kernel_gives_up_on_the_last_bytes_by_itself() -> None:
    """As it must when this process is stopped or killed meanwhile."""

    def script(self: Server, connection: socket.socket) -> None:
        connection.recv(100)
        self.done.wait(20)

    started = time.monotonic()
    outbound = HttpClientFactory(read_timeout=20)
    with (
        serving(script) as server,
        outbound.session(guarded=False) as client,
        pytest.raises(requests.RequestException) as lost,
    ):
        client.post(server.url, data=Body(0.3))
    assert time.monotonic() - started < 10
    assert isinstance(translate(lost.value, sent=True), OutcomeUnknown)


def test_the_limit_of_the_kernel_ends_with_the_call() -> None:
    """The next request on the connection may be read as slowly as any other."""
    count = []

    def script(self: Server, connection: socket.socket) -> None:
        while received := self.head(connection):
            count.append(1)
            self.done.wait(1.5 if len(count) == 2 else 0)
            left = len(BODY) + 512 - len(received.partition(b"\r\n\r\n")[2])
            while left > 0 and (some := connection.recv(2**16)):
                left -= len(some)
            connection.sendall(OK)

    outbound = HttpClientFactory(read_timeout=10)
    with serving(script) as server, outbound.session(guarded=False) as client:
        assert client.post(server.url, data=Body(0.3)).text == "ok"
        assert client.post(server.url, data=BODY + b"y" * 512).text == "ok"
    assert len(server.received) == 3  # and the end of the connection
