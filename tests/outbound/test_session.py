"""Sessions over real sockets: the guard, timeouts, limits and early responses."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import urllib3

import relay.outbound.connection
from relay.config.text import excerpt
from relay.errors import OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.outbound.responses import retry_after, translate
from relay.outbound.session import MAX_RESPONSE, HttpClientFactory
from tests.outbound.servers import OK, Server, reply, serving

TOO_LARGE = b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig"
MEGABYTE = b"x" * 2**20
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@contextmanager
def session(
    *, guarded: bool = False, read_timeout: float = 10, allowed: bool = False
) -> Iterator[requests.Session]:
    outbound = HttpClientFactory(
        allow_private=LOOPBACK if allowed else (), connect_timeout=5, read_timeout=read_timeout
    )
    with outbound.session(guarded=guarded) as client:
        yield client


class MegabyteBody:
    """A body of several megabytes; `chunks_read` counts those that were read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.chunks_read = 0

    def __len__(self) -> int:
        return self.count * len(MEGABYTE)

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.count):
            self.chunks_read += 1
            yield MEGABYTE


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# Addresses that can be reached


def test_a_guarded_session_sends_no_byte_to_a_private_address() -> None:
    with serving(reply(OK)) as server, session(guarded=True) as client:
        with pytest.raises(PermanentFailure) as refused:
            client.get(server.url)
        assert refused.value.code == "outbound.private"
        assert "allow_private" in refused.value.hint.en
        assert "allow_private" in refused.value.hint.zh
    assert server.received in ([], [b""])


def test_an_allowed_private_network_is_reached() -> None:
    with (
        serving(reply(OK)) as server,
        session(guarded=True, allowed=True) as client,
    ):
        assert client.get(server.url).text == "ok"


def test_an_unguarded_session_reaches_everything() -> None:
    with serving(reply(OK)) as server, session() as client:
        assert client.get(server.url).text == "ok"


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "fc00::1",
        "fe80::1%eth0",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(PermanentFailure):
        HttpClientFactory().guard("example.com", address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_not_refused(address: str) -> None:
    HttpClientFactory().guard("example.com", address)


def test_an_allowed_network_includes_mapped_addresses() -> None:
    allowing = HttpClientFactory(allow_private=[ipaddress.ip_network("10.0.0.0/8")])
    allowing.guard("example.com", "::ffff:10.1.2.3")
    with pytest.raises(PermanentFailure):
        allowing.guard("example.com", "::ffff:192.168.1.1")


def test_a_redirect_is_returned_and_not_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    with serving(reply(moved)) as server, session() as client:
        assert client.get(server.url).status_code == 302
        assert client.post(server.url, data=b"x", allow_redirects=True).status_code == 302
    assert not any(b"/other" in received for received in server.received)


def test_netrc_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(reply(OK)) as server, session() as client:
        client.get(server.url, headers={"Authorization": "Bearer ours"})
    assert b"Authorization: Bearer ours\r\n" in server.received[0]


def test_credentials_in_the_url_are_used() -> None:
    with serving(reply(OK)) as server, session() as client:
        client.get(server.url.replace("//", "//user:word@"))
    assert b"Authorization: Basic dXNlcjp3b3Jk\r\n" in server.received[0]


def test_no_cookie_is_kept() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    with serving(reply(cookie)) as server, session() as client:
        client.get(server.url)
        client.get(server.url)
    assert not any(b"Cookie" in received for received in server.received)


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(reply(OK)) as proxy, session() as client:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert client.get("http://somewhere.invalid/path").text == "ok"
    assert proxy.received[0].startswith(b"GET http://somewhere.invalid/path ")


def test_a_guarded_session_checks_the_host_name_if_a_proxy_connects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(reply(OK)) as proxy, session(guarded=True) as client:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert client.get("http://somewhere.invalid/").text == "ok"
        with pytest.raises(PermanentFailure):
            client.get("http://169.254.169.254/latest/meta-data/")
    assert not any(b"169.254" in received for received in proxy.received)


# Timeouts and limits


def test_a_response_is_read_up_to_the_limit_and_the_connection_not_reused() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"y" * 10**7
    with serving(reply(endless)) as server, session() as client:
        assert len(client.get(server.url).content) == MAX_RESPONSE
        assert len(client.get(server.url).content) == MAX_RESPONSE


def test_bytes_beyond_the_announced_length_belong_to_no_response() -> None:
    with serving(reply(OK + OK[:-2] + b"no")) as server, session() as client:
        assert [client.get(server.url).text for _ in range(3)] == ["ok"] * 3


@pytest.mark.parametrize(("max_idle", "connections"), [(15.0, 1), (0.0, 3)])
def test_a_connection_is_reused_unless_it_was_idle_for_too_long(
    monkeypatch: pytest.MonkeyPatch, max_idle: float, connections: int
) -> None:
    monkeypatch.setattr(relay.outbound.connection, "MAX_IDLE", max_idle)
    count = []

    def script(self: Server, connection: socket.socket) -> None:
        count.append(1)
        reply(OK)(self, connection)

    with serving(script) as server, session() as client:
        assert [client.get(server.url).text for _ in range(3)] == ["ok"] * 3
    assert len(count) == connections


def test_without_reuse_every_request_has_a_new_connection() -> None:
    with (
        serving(reply(OK)) as server,
        HttpClientFactory().session(guarded=False, reuse=False) as client,
    ):
        assert [client.get(server.url).text for _ in range(3)] == ["ok"] * 3
    received_requests = [received for received in server.received if received]
    assert len(received_requests) == 3
    assert all(b"Connection: close\r\n" in received for received in received_requests)


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX: ", OK[:-2]])
def test_a_response_that_arrives_byte_by_byte_times_out(first: bytes) -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(first)
        while not self.done.wait(0.1):
            connection.sendall(b"z" if first != OK[:-2] else b"")

    started = time.monotonic()
    with (
        serving(script) as server,
        session(read_timeout=0.6) as client,
        pytest.raises(requests.RequestException) as lost,
    ):
        client.get(server.url)
    assert time.monotonic() - started < 5
    assert isinstance(translate(lost.value, sent=True), OutcomeUnknown)


# Streams


@contextmanager
def streaming(read_timeout: float = 10) -> Iterator[requests.Session]:
    outbound = HttpClientFactory(connect_timeout=5, read_timeout=read_timeout)
    with outbound.session(guarded=False, streams=True) as client:
        yield client


def test_a_long_stream_is_not_kept_in_memory() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 2**20))
        for _ in range(64):
            connection.sendall(MEGABYTE)

    with serving(script) as server, streaming() as client, client.get(server.url) as response:
        tracemalloc.start()
        length = sum(len(part) for part in iter(lambda: response.raw.read1(2**16), b""))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert length == 64 * 2**20
    assert peak < 8 * 2**20


def test_the_read_timeout_of_a_stream_applies_to_each_read() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(7):
            self.done.wait(0.15)
            connection.sendall(b"z")
        self.done.wait()

    with (
        serving(script) as server,
        streaming(read_timeout=0.6) as client,
        client.get(server.url) as response,
    ):
        started = time.monotonic()
        got = b"".join(response.raw.read1(1) for _ in range(7))
        assert time.monotonic() - started > 0.6
        assert got == b"z" * 7
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            response.raw.read1(1)


def test_the_headers_of_a_stream_that_arrive_byte_by_byte_time_out() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.done.wait(0.1):
            connection.sendall(b"z")

    started = time.monotonic()
    with (
        serving(script) as server,
        streaming(read_timeout=0.6) as client,
        pytest.raises(requests.RequestException),
    ):
        client.get(server.url)
    assert time.monotonic() - started < 5


def test_an_error_response_instead_of_a_stream_is_read_up_to_the_limit() -> None:
    endless = b"HTTP/1.1 403 No\r\nContent-Length: 10000000\r\n\r\n" + b"y" * 10**7
    with serving(reply(endless)) as server, streaming() as client:
        assert len(client.get(server.url).content) == MAX_RESPONSE


def test_a_body_that_the_server_does_not_read_times_out() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        self.done.wait()

    body = MegabyteBody(200)
    with (
        serving(script) as server,
        session(read_timeout=0.5) as client,
        pytest.raises(requests.RequestException) as stuck,
    ):
        client.post(server.url, data=body)
    assert body.chunks_read < 100
    assert type(translate(stuck.value, sent=False)) is TemporaryFailure


def test_a_slow_reader_may_take_longer_than_the_connect_timeout() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        received, left = self.head(connection), 2 * len(MEGABYTE)
        left -= len(received.split(b"\r\n\r\n", 1)[1])
        while left and (some := connection.recv(min(left, 2**18))):
            left -= len(some)
            self.done.wait(0.05)
        connection.sendall(OK)

    outbound = HttpClientFactory(connect_timeout=0.2, read_timeout=5)
    with serving(script) as server, outbound.session(guarded=False) as client:
        assert client.post(server.url, data=MEGABYTE * 2).text == "ok"


def test_a_slow_reader_gets_every_byte_in_order_through_tls(
    authority: Path, tls: ssl.SSLContext
) -> None:
    """A full socket stops in the middle of a TLS record and continues with the same bytes."""
    body = hashlib.shake_128(b"body").digest(12 * len(MEGABYTE))
    read = bytearray()

    def script(self: Server, connection: socket.socket) -> None:
        read.extend(self.head(connection).split(b"\r\n\r\n", 1)[1])
        self.done.wait(0.5)  # until the buffers between us are full
        while len(read) < len(body) and (some := connection.recv(2**18)):
            read.extend(some)
        connection.sendall(OK)

    with serving(script, tls) as server, session() as client:
        assert client.post(server.url, data=body, verify=str(authority)).text == "ok"
    assert read == body


# Responses while sending


def respond_early(self: Server, connection: socket.socket) -> None:
    self.head(connection)
    connection.sendall(TOO_LARGE)
    self.done.wait()


def test_an_early_response_is_read_and_stops_the_sending() -> None:
    body = MegabyteBody(200)
    with serving(respond_early) as server, session() as client:
        response = client.post(server.url, data=body)
        assert (response.status_code, response.text) == (413, "big")
    assert body.chunks_read < 30


def test_an_early_response_is_noticed_through_tls(authority: Path, tls: ssl.SSLContext) -> None:
    body = MegabyteBody(200)
    with serving(respond_early, tls) as server, session() as client:
        response = client.post(server.url, data=body, verify=str(authority))
        assert (response.status_code, response.text) == (413, "big")
    assert body.chunks_read < 30


def test_an_early_response_followed_by_a_reset_is_read() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(TOO_LARGE)

    with serving(script) as server, session() as client:
        response = client.post(server.url, data=MegabyteBody(50))
        assert response.status_code == 413


def test_after_an_early_response_the_connection_is_not_reused() -> None:
    with serving(respond_early) as server, session() as client:
        for _ in range(2):
            assert client.post(server.url, data=MegabyteBody(20)).status_code == 413
        assert len(server.received) == 2


def test_tls_session_tickets_are_not_taken_for_a_response(
    authority: Path, tls: ssl.SSLContext
) -> None:
    """A TLS 1.3 server sends tickets after the handshake: readable, but not a response."""

    def script(self: Server, connection: socket.socket) -> None:
        received, left = self.head(connection), 3 * len(MEGABYTE)
        left -= len(received.split(b"\r\n\r\n", 1)[1])
        while left and (some := connection.recv(2**16)):
            left -= len(some)
        connection.sendall(OK if left == 0 else TOO_LARGE)

    with serving(script, tls) as server, session() as client:
        response = client.post(server.url, data=MegabyteBody(3), verify=str(authority))
        assert (response.status_code, response.text) == (200, "ok")


def test_a_cancelled_body_never_becomes_complete() -> None:
    received: list[int] = []
    head_received = threading.Event()

    class Broken(MegabyteBody):
        def __iter__(self) -> Iterator[bytes]:
            yield MEGABYTE
            head_received.wait(10)
            raise PermanentFailure("archive.crc", "wrong")

    def script(self: Server, connection: socket.socket) -> None:
        received.append(len(self.head(connection)))
        head_received.set()
        while some := connection.recv(2**16):
            received.append(len(some))

    with serving(script) as server, session() as client, pytest.raises(PermanentFailure):
        client.post(server.url, data=Broken(2))
    assert sum(received) < 2 * len(MEGABYTE)
    assert isinstance(server.errors[0], ConnectionResetError)


# Errors


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def failure_of(url: str) -> requests.RequestException:
    with session() as client, pytest.raises(requests.RequestException) as failed:
        client.post(url, data=b"x")
    return failed.value


@pytest.mark.parametrize("sent", [True, False])
def test_a_request_that_never_connected_is_temporary(sent: bool) -> None:
    error = translate(failure_of(f"http://127.0.0.1:{closed_port()}/"), sent=sent)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.unreachable")


def test_an_unknown_name_is_temporary() -> None:
    error = translate(failure_of("http://nowhere.invalid/secret-path"), sent=True)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.unreachable")
    assert "nowhere.invalid" in error.message.en
    assert "secret-path" not in str(error)


def test_an_untrusted_certificate_is_temporary(tls: ssl.SSLContext) -> None:
    with serving(reply(OK), tls) as server:
        error = translate(failure_of(server.url), sent=True)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.certificate")


@pytest.mark.parametrize("url", ["ftp://example.com/", "example.com", "http://", "http://[::1"])
def test_a_wrong_url_is_permanent(url: str) -> None:
    error = translate(failure_of(url), sent=True)
    assert (type(error), error.code) == (PermanentFailure, "outbound.url")


@pytest.mark.parametrize(
    ("sent", "kind", "code"),
    [
        (True, OutcomeUnknown, "outbound.answer_lost"),
        (False, TemporaryFailure, "outbound.interrupted"),
    ],
)
def test_a_lost_response_has_an_unknown_outcome_only_if_the_request_was_sent(
    sent: bool, kind: type[Exception], code: str
) -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.request(connection)

    with serving(script) as server:
        error = translate(failure_of(server.url), sent=sent)
    assert (type(error), error.code) == (kind, code)


def test_an_unreachable_proxy_has_a_separate_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port()}")
    assert translate(failure_of("https://example.com/"), sent=True).code == "outbound.proxy"


# Responses

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        (" 5 ", 5),
        ("7200", 7200),
        ("999999999", 86400),
        ("Tue, 24 Nov 2026 12:02:00 GMT", 120),
        ("Tue, 24 Nov 2026 14:00:00 GMT", 7200),
        ("Tue, 24 Nov 2027 14:00:00 GMT", 86400),
        ("Tue, 24 Nov 2026 11:00:00 GMT", None),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 40, None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_forms_and_capped(value: str, seconds: int | None) -> None:
    response = requests.Response()
    response.headers["Retry-After"] = value
    wait = retry_after(response, NOW)
    assert (wait.total_seconds() if wait else None) == seconds


def test_a_response_without_retry_after_has_no_wait() -> None:
    assert retry_after(requests.Response(), NOW) is None


def test_an_excerpt_is_a_short_line_without_control_characters() -> None:
    noisy = (
        b"HTTP/1.1 500 No\r\nContent-Length: 1012\r\n\r\n" + b"a\x00\x1b[31m\r\nb\t" + b"c" * 1002
    )
    with serving(reply(noisy)) as server, session() as client:
        text = excerpt(client.get(server.url).text, 50)
    assert text == "a[31m b " + "c" * 41 + "…"
    assert excerpt("left\u202eright") == "leftright"
