"""Interim responses, and bytes that belong to no response, over real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from relay.errors import OutcomeUnknown, TemporaryFailure
from relay.outbound.final_response import MAX_INTERIM, NOT_SENT
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory
from tests.outbound.servers import OK, Server, reply, serving

INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nLink: </b>\r\n\r\n",
    "199": b"HTTP/1.1 199\r\n\r\n",
    "several": b"HTTP/1.1 102 A\r\n\r\nHTTP/1.1 100 B\r\n\r\nHTTP/1.1 103 C\r\nX: y\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 102 Processing\nX: y\n\n",
}
CHUNK = b"x" * 2**20


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def session(read_timeout: float = 10) -> Iterator[requests.Session]:
    outbound = HttpClientFactory(connect_timeout=5, read_timeout=read_timeout)
    with outbound.session(guarded=False) as client:
        yield client


class Chunks:
    """A body of 1 MiB chunks. `before`: called before each chunk with its number."""

    def __init__(self, count: int, before: Callable[[int], object] = int) -> None:
        self.count = count
        self._before = before

    def __len__(self) -> int:
        return self.count * len(CHUNK)

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self.count):
            self._before(number)
            yield CHUNK


def numbered(number: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % number


@pytest.mark.parametrize("interim", INTERIM)
def test_interim_responses_are_skipped_and_every_request_gets_its_own_response(
    interim: str,
) -> None:
    def script(self: Server, connection: socket.socket) -> None:
        number = 0
        while self.head(connection):
            connection.sendall(INTERIM[interim])
            connection.sendall(numbered(number))
            number += 1

    with serving(script) as server, session() as client:
        assert [client.get(server.url).text for _ in range(3)] == ["00", "01", "02"]
        assert len([head for head in server.received if head]) == 3


@pytest.mark.parametrize("interim", INTERIM)
def test_an_interim_response_does_not_stop_the_sending(interim: str) -> None:
    def script(self: Server, connection: socket.socket) -> None:
        for number in range(2):
            left = 20 * len(CHUNK) - len(self.head(connection).partition(b"\r\n\r\n")[2])
            connection.sendall(INTERIM[interim])
            while left > 0 and (some := connection.recv(2**18)):
                left -= len(some)
            connection.sendall(numbered(number))

    with serving(script) as server, session() as client:
        assert client.post(server.url, data=Chunks(20)).text == "00"
        assert client.post(server.url, data=Chunks(20)).text == "01"
    assert server.errors == []


def test_an_interim_response_that_arrives_in_pieces_does_not_stop_the_sending() -> None:
    pieces = iter([b"HTTP", b"/1.1 10", b"2 Processing\r", b"\nX: y\r\n", b"\r", b"\nHTTP/1.1 1"])
    connections: list[socket.socket] = []

    def before(number: int) -> None:
        if connections and (piece := next(pieces, b"")):
            connections[0].sendall(piece)

    def script(self: Server, connection: socket.socket) -> None:
        left = 20 * len(CHUNK) - len(self.head(connection).partition(b"\r\n\r\n")[2])
        connections.append(connection)
        while left > 0 and (some := connection.recv(2**18)):
            left -= len(some)
        while piece := next(pieces, b""):
            connection.sendall(piece)
        connection.sendall(b"03 Early Hints\r\n\r\n" + OK)

    with serving(script) as server, session() as client:
        assert client.post(server.url, data=Chunks(20, before)).text == "ok"


def test_a_final_response_after_an_interim_one_stops_the_sending() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(INTERIM["103"] + b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig")
        self.done.wait()

    with serving(script) as server, session() as client:
        for _ in range(2):
            response = client.post(server.url, data=Chunks(200))
            assert (response.status_code, response.text) == (413, "big")
        assert len(server.received) == 2


def test_the_number_of_interim_responses_is_limited() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        while self.head(connection):
            connection.sendall(INTERIM["102"] * count + OK)

    with serving(script) as server, session() as client:
        count = MAX_INTERIM
        assert client.get(server.url).text == "ok"
        count = MAX_INTERIM + 1
        with pytest.raises(requests.RequestException) as lost:
            client.get(server.url)
        assert isinstance(translate(lost.value, sent=True), OutcomeUnknown)


def test_the_number_of_interim_responses_to_a_body_is_limited() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(INTERIM["102"] * (MAX_INTERIM + 1))
        self.done.wait()

    with serving(script) as server, session() as client:
        with pytest.raises(requests.RequestException) as aborted:
            client.post(server.url, data=Chunks(200))
        assert type(translate(aborted.value, sent=True)) is TemporaryFailure


def test_interim_responses_do_not_extend_the_time_limit() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        while not self.done.wait(0.1):
            connection.sendall(INTERIM["102"])

    started = time.monotonic()
    with (
        serving(script) as server,
        session(read_timeout=0.6) as client,
        pytest.raises(requests.RequestException),
    ):
        client.get(server.url)
    assert time.monotonic() - started < 5


def test_interim_responses_do_not_extend_the_time_limit_of_a_body() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        while not self.done.wait(0.1):
            connection.sendall(INTERIM["102"])

    started = time.monotonic()
    with (
        serving(script) as server,
        session(read_timeout=0.6) as client,
        pytest.raises(requests.RequestException),
    ):
        client.post(server.url, data=Chunks(200))
    assert time.monotonic() - started < 5


def test_switching_protocols_without_an_upgrade_is_a_lost_response() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"
    with serving(reply(switching + OK)) as server, session() as client:
        with pytest.raises(requests.RequestException) as lost:
            client.get(server.url)
        assert isinstance(translate(lost.value, sent=True), OutcomeUnknown)


# Bytes that belong to no response


@pytest.mark.parametrize("stray", [b"\r\n", b"stray", OK[:-2] + b"no", INTERIM["103"]])
def test_a_connection_with_bytes_after_the_response_is_closed_at_once(stray: bytes) -> None:
    ends: list[bytes] = []

    def script(self: Server, connection: socket.socket) -> None:
        if self.head(connection):
            connection.sendall(OK + stray)
            ends.append(connection.recv(1))

    with serving(script) as server, session() as client:
        assert [client.get(server.url).text for _ in range(3)] == ["ok"] * 3
        deadline = time.monotonic() + 5
        while len(ends) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ends == [b""] * 3


def test_a_connection_that_received_bytes_while_idle_is_not_reused() -> None:
    stale = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"
    idle: list[socket.socket] = []

    def script(self: Server, connection: socket.socket) -> None:
        if self.head(connection):
            idle.append(connection)
            connection.sendall(OK)
            self.done.wait()

    with serving(script) as server, session() as client:
        for number in range(3):
            assert client.get(server.url).text == "ok"
            pool = pool_of(client, server)
            connection = pool._get_conn()
            idle[number].sendall(stale)
            connection.sock.recv(1, socket.MSG_PEEK)  # until the bytes have arrived
            pool._put_conn(connection)


def pool_of(client: requests.Session, server: Server) -> Any:
    prepared = requests.Request("GET", server.url).prepare()
    adapter: Any = client.get_adapter(server.url)
    settings = client.merge_environment_settings(server.url, {}, None, None, None)
    return adapter.get_connection_with_tls_context(prepared, verify=settings["verify"])


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_bytes_before_the_request_are_not_read_as_its_response(method: str) -> None:
    """As a server sends them that hangs up just before the request, or one of another protocol."""
    ends: list[bytes] = []

    def script(self: Server, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        ends.append(connection.recv(10))

    with serving(script) as server, session() as client:
        connection = pool_of(client, server)._get_conn()
        connection.connect()
        connection.sock.recv(1, socket.MSG_PEEK)  # until the bytes have arrived
        with pytest.raises(ConnectionError, match="before the request") as failed:
            connection.request(method, "/", body=b"x")
        connection.close()
    assert ends in ([b""], [])  # a reset if the bytes were not read
    assert NOT_SENT in failed.value.__notes__
