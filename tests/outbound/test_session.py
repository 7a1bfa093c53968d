"""Sessions over real sockets: what they refuse, how long they wait, and what they hear."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import relay.outbound.connection
from relay.errors import OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.outbound.responses import cleaned, excerpt, retry_after, translate
from relay.outbound.session import MAX_ANSWER, HttpClientFactory

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOO_LARGE = b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig"
MEGABYTE = b"x" * 2**20
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class Peer:
    """A server that treats every connection as it was told to. `heard`: what came in, each."""

    def __init__(
        self, script: Callable[[Peer, socket.socket], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self.script = script
        self.tls = tls
        self.heard: list[bytearray] = []
        self.errors: list[OSError] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        self.done = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        with connection:
            try:
                wrapped = (
                    self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
                )
                with wrapped:
                    self.script(self, wrapped)
            except OSError as error:
                self.errors.append(error)

    def head(self, connection: socket.socket) -> bytearray:
        """Reads up to the end of the head; returns what this connection has said so far."""
        heard = bytearray()
        self.heard.append(heard)
        while b"\r\n\r\n" not in heard and (some := connection.recv(4096)):
            heard += some
        return heard

    def close(self) -> None:
        self.done.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def peer(
    script: Callable[[Peer, socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[Peer]:
    one = Peer(script, tls)
    try:
        yield one
    finally:
        one.close()


def says(answer: bytes) -> Callable[[Peer, socket.socket], None]:
    def script(self: Peer, connection: socket.socket) -> None:
        while self.head(connection):
            connection.sendall(answer)

    return script


@contextmanager
def session(
    *, guarded: bool = False, read_timeout: float = 10, allowed: bool = False
) -> Iterator[requests.Session]:
    outbound = HttpClientFactory(
        allow_private=LOOPBACK if allowed else (), connect_timeout=5, read_timeout=read_timeout
    )
    with outbound.session(guarded=guarded) as one:
        yield one


class Chunks:
    """A body of megabytes; remembers how many were asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0

    def __len__(self) -> int:
        return self.count * len(MEGABYTE)

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.count):
            self.asked += 1
            yield MEGABYTE


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(pem)
    )
    return path


@pytest.fixture
def tls(authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    return context


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# Where it may lead


def test_a_guarded_session_says_no_byte_to_a_private_address() -> None:
    with peer(says(OK)) as other, session(guarded=True) as one:
        with pytest.raises(PermanentFailure) as refused:
            one.get(other.url)
        assert refused.value.code == "outbound.private"
        assert "allow_private" in refused.value.hint.en
        assert "allow_private" in refused.value.hint.zh
    assert other.heard in ([], [b""])


def test_what_is_allowed_expressly_is_reached() -> None:
    with peer(says(OK)) as other, session(guarded=True, allowed=True) as one:
        assert one.get(other.url).text == "ok"


def test_an_unguarded_session_reaches_everything() -> None:
    with peer(says(OK)) as other, session() as one:
        assert one.get(other.url).text == "ok"


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


def test_an_allowed_network_counts_for_mapped_addresses_too() -> None:
    allowing = HttpClientFactory(allow_private=[ipaddress.ip_network("10.0.0.0/8")])
    allowing.guard("example.com", "::ffff:10.1.2.3")
    with pytest.raises(PermanentFailure):
        allowing.guard("example.com", "::ffff:192.168.1.1")


def test_a_redirect_is_shown_and_not_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
    with peer(says(moved)) as other, session() as one:
        assert one.get(other.url).status_code == 302
        assert one.post(other.url, data=b"x", allow_redirects=True).status_code == 302
    assert not any(b"/other" in heard for heard in other.heard)


def test_netrc_is_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with peer(says(OK)) as other, session() as one:
        one.get(other.url, headers={"Authorization": "Bearer ours"})
    assert b"Authorization: Bearer ours\r\n" in other.heard[0]


def test_credentials_in_the_url_are_used() -> None:
    with peer(says(OK)) as other, session() as one:
        one.get(other.url.replace("//", "//user:word@"))
    assert b"Authorization: Basic dXNlcjp3b3Jk\r\n" in other.heard[0]


def test_no_cookie_is_kept() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    with peer(says(cookie)) as other, session() as one:
        one.get(other.url)
        one.get(other.url)
    assert not any(b"Cookie" in heard for heard in other.heard)


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(says(OK)) as proxy, session() as one:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert one.get("http://somewhere.invalid/path").text == "ok"
    assert proxy.heard[0].startswith(b"GET http://somewhere.invalid/path ")


def test_a_guarded_session_looks_at_the_name_when_a_proxy_connects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with peer(says(OK)) as proxy, session(guarded=True) as one:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert one.get("http://somewhere.invalid/").text == "ok"
        with pytest.raises(PermanentFailure):
            one.get("http://169.254.169.254/latest/meta-data/")
    assert not any(b"169.254" in heard for heard in proxy.heard)


# How long, how much


def test_an_answer_is_read_up_to_the_limit_and_its_connection_not_used_again() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"y" * 10**7
    with peer(says(endless)) as other, session() as one:
        assert len(one.get(other.url).content) == MAX_ANSWER
        assert len(one.get(other.url).content) == MAX_ANSWER


@pytest.mark.parametrize(("rested", "connections"), [(15.0, 1), (0.0, 3)])
def test_a_connection_is_kept_for_the_next_request_unless_it_has_rested(
    monkeypatch: pytest.MonkeyPatch, rested: float, connections: int
) -> None:
    monkeypatch.setattr(relay.outbound.connection, "MAX_IDLE", rested)
    count = []

    def script(self: Peer, connection: socket.socket) -> None:
        count.append(1)
        says(OK)(self, connection)

    with peer(script) as other, session() as one:
        assert [one.get(other.url).text for _ in range(3)] == ["ok"] * 3
    assert len(count) == connections


def test_without_reuse_every_request_has_a_connection_of_its_own() -> None:
    with peer(says(OK)) as other, HttpClientFactory().session(guarded=False, reuse=False) as one:
        assert [one.get(other.url).text for _ in range(3)] == ["ok"] * 3
    requests_heard = [heard for heard in other.heard if heard]
    assert len(requests_heard) == 3
    assert all(b"Connection: close\r\n" in heard for heard in requests_heard)


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX: ", OK[:-2]])
def test_an_answer_that_drips_in_ends_in_time(first: bytes) -> None:
    def script(self: Peer, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(first)
        while not self.done.wait(0.1):
            connection.sendall(b"z" if first != OK[:-2] else b"")

    started = time.monotonic()
    with (
        peer(script) as other,
        session(read_timeout=0.6) as one,
        pytest.raises(requests.RequestException) as lost,
    ):
        one.get(other.url)
    assert time.monotonic() - started < 5
    assert isinstance(translate(lost.value, sent=True), OutcomeUnknown)


# Streams


@contextmanager
def streaming(read_timeout: float = 10) -> Iterator[requests.Session]:
    outbound = HttpClientFactory(connect_timeout=5, read_timeout=read_timeout)
    with outbound.session(guarded=False, streams=True) as one:
        yield one


def test_a_stream_of_any_length_is_left_to_its_reader_and_not_kept() -> None:
    def script(self: Peer, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * 2**20))
        for _ in range(64):
            connection.sendall(MEGABYTE)

    with peer(script) as other, streaming() as one, one.get(other.url) as answer:
        tracemalloc.start()
        length = sum(len(part) for part in iter(lambda: answer.raw.read1(2**16), b""))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert length == 64 * 2**20
    assert peak < 8 * 2**20


def test_a_stream_may_last_longer_than_any_piece_of_it_may() -> None:
    def script(self: Peer, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(7):
            self.done.wait(0.15)
            connection.sendall(b"z")
        self.done.wait()

    with peer(script) as other, streaming(read_timeout=0.6) as one, one.get(other.url) as answer:
        started = time.monotonic()
        got = b"".join(answer.raw.read1(1) for _ in range(7))
        assert time.monotonic() - started > 0.6
        assert got == b"z" * 7
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            answer.raw.read1(1)


def test_the_head_of_a_stream_that_drips_in_ends_in_time() -> None:
    def script(self: Peer, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.done.wait(0.1):
            connection.sendall(b"z")

    started = time.monotonic()
    with (
        peer(script) as other,
        streaming(read_timeout=0.6) as one,
        pytest.raises(requests.RequestException),
    ):
        one.get(other.url)
    assert time.monotonic() - started < 5


def test_a_refusal_instead_of_a_stream_is_read_up_to_the_limit() -> None:
    endless = b"HTTP/1.1 403 No\r\nContent-Length: 10000000\r\n\r\n" + b"y" * 10**7
    with peer(says(endless)) as other, streaming() as one:
        assert len(one.get(other.url).content) == MAX_ANSWER


def test_a_body_that_nobody_takes_ends_in_time() -> None:
    def script(self: Peer, connection: socket.socket) -> None:
        self.head(connection)
        self.done.wait()

    body = Chunks(200)
    with (
        peer(script) as other,
        session(read_timeout=0.5) as one,
        pytest.raises(requests.RequestException) as stuck,
    ):
        one.post(other.url, data=body)
    assert body.asked < 100
    assert type(translate(stuck.value, sent=False)) is TemporaryFailure


def test_a_slow_reader_may_take_longer_than_the_connect_timeout() -> None:
    def script(self: Peer, connection: socket.socket) -> None:
        heard, left = self.head(connection), 2 * len(MEGABYTE)
        left -= len(heard.split(b"\r\n\r\n", 1)[1])
        while left and (some := connection.recv(min(left, 2**18))):
            left -= len(some)
            self.done.wait(0.05)
        connection.sendall(OK)

    outbound = HttpClientFactory(connect_timeout=0.2, read_timeout=5)
    with peer(script) as other, outbound.session(guarded=False) as one:
        assert one.post(other.url, data=MEGABYTE * 2).text == "ok"


def test_a_slow_reader_gets_every_byte_in_order_through_tls(
    authority: Path, tls: ssl.SSLContext
) -> None:
    """A socket without room stops in the middle of a record, and goes on with the same bytes."""
    body = hashlib.shake_128(b"body").digest(12 * len(MEGABYTE))
    read = bytearray()

    def script(self: Peer, connection: socket.socket) -> None:
        read.extend(self.head(connection).split(b"\r\n\r\n", 1)[1])
        self.done.wait(0.5)  # until the buffers between us are full
        while len(read) < len(body) and (some := connection.recv(2**18)):
            read.extend(some)
        connection.sendall(OK)

    with peer(script, tls) as other, session() as one:
        assert one.post(other.url, data=body, verify=str(authority)).text == "ok"
    assert read == body


# What is heard while sending


def early(self: Peer, connection: socket.socket) -> None:
    self.head(connection)
    connection.sendall(TOO_LARGE)
    self.done.wait()


def test_an_answer_that_comes_early_is_read_and_the_sending_stopped() -> None:
    body = Chunks(200)
    with peer(early) as other, session() as one:
        answer = one.post(other.url, data=body)
        assert (answer.status_code, answer.text) == (413, "big")
    assert body.asked < 30


def test_an_early_answer_is_heard_through_tls(authority: Path, tls: ssl.SSLContext) -> None:
    body = Chunks(200)
    with peer(early, tls) as other, session() as one:
        answer = one.post(other.url, data=body, verify=str(authority))
        assert (answer.status_code, answer.text) == (413, "big")
    assert body.asked < 30


def test_an_early_answer_followed_by_a_reset_is_read() -> None:
    def script(self: Peer, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(TOO_LARGE)

    with peer(script) as other, session() as one:
        answer = one.post(other.url, data=Chunks(50))
        assert answer.status_code == 413


def test_after_an_early_answer_the_connection_is_not_used_again() -> None:
    with peer(early) as other, session() as one:
        for _ in range(2):
            assert one.post(other.url, data=Chunks(20)).status_code == 413
        assert len(other.heard) == 2


def test_tls_session_tickets_are_not_taken_for_an_answer(
    authority: Path, tls: ssl.SSLContext
) -> None:
    """TLS 1.3 servers speak first, after the handshake: readable, and still no answer."""

    def script(self: Peer, connection: socket.socket) -> None:
        heard, left = self.head(connection), 3 * len(MEGABYTE)
        left -= len(heard.split(b"\r\n\r\n", 1)[1])
        while left and (some := connection.recv(2**16)):
            left -= len(some)
        connection.sendall(OK if left == 0 else TOO_LARGE)

    with peer(script, tls) as other, session() as one:
        answer = one.post(other.url, data=Chunks(3), verify=str(authority))
        assert (answer.status_code, answer.text) == (200, "ok")


def test_a_body_that_breaks_off_never_becomes_whole() -> None:
    received: list[int] = []
    hearing = threading.Event()

    class Broken(Chunks):
        def __iter__(self) -> Iterator[bytes]:
            yield MEGABYTE
            hearing.wait(10)
            raise PermanentFailure("archive.crc", "wrong")

    def script(self: Peer, connection: socket.socket) -> None:
        received.append(len(self.head(connection)))
        hearing.set()
        while some := connection.recv(2**16):
            received.append(len(some))

    with peer(script) as other, session() as one, pytest.raises(PermanentFailure):
        one.post(other.url, data=Broken(2))
    assert sum(received) < 2 * len(MEGABYTE)
    assert isinstance(other.errors[0], ConnectionResetError)


# What errors mean


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def failure_of(url: str) -> requests.RequestException:
    with session() as one, pytest.raises(requests.RequestException) as failed:
        one.post(url, data=b"x")
    return failed.value


@pytest.mark.parametrize("sent", [True, False])
def test_a_call_that_never_connected_has_changed_nothing(sent: bool) -> None:
    error = translate(failure_of(f"http://127.0.0.1:{closed_port()}/"), sent=sent)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.unreachable")


def test_an_unknown_name_is_temporary() -> None:
    error = translate(failure_of("http://nowhere.invalid/secret-path"), sent=True)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.unreachable")
    assert "nowhere.invalid" in error.message.en
    assert "secret-path" not in str(error)


def test_a_certificate_that_nobody_signed_is_temporary(tls: ssl.SSLContext) -> None:
    with peer(says(OK), tls) as other:
        error = translate(failure_of(other.url), sent=True)
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
def test_a_lost_answer_is_ambiguous_only_when_all_was_sent(
    sent: bool, kind: type[Exception], code: str
) -> None:
    with peer(lambda self, connection: self.head(connection) and None) as other:
        error = translate(failure_of(other.url), sent=sent)
    assert (type(error), error.code) == (kind, code)


def test_a_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port()}")
    assert translate(failure_of("https://example.com/"), sent=True).code == "outbound.proxy"


# What answers say

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30),
        (" 5 ", 5),
        ("86400", 3600),
        ("999999999", 3600),
        ("Tue, 24 Nov 2026 12:02:00 GMT", 120),
        ("Tue, 24 Nov 2026 14:00:00 GMT", 3600),
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


def test_an_answer_without_retry_after_asks_for_nothing() -> None:
    assert retry_after(requests.Response(), NOW) is None


def test_an_excerpt_is_one_clean_short_line() -> None:
    noisy = (
        b"HTTP/1.1 500 No\r\nContent-Length: 1012\r\n\r\n" + b"a\x00\x1b[31m\r\nb\t" + b"c" * 1002
    )
    with peer(says(noisy)) as other, session() as one:
        text = excerpt(one.get(other.url), 50)
    assert text == "a [31m b " + "c" * 40 + "…"
    assert cleaned("left\u202eright") == "left right"
