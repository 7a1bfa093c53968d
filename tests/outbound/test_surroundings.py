"""Faults of the surroundings, over real sockets: each has the right class and names the culprit."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from relay.errors import ConfigError, OutcomeUnknown, PermanentFailure, RelayError, TemporaryFailure
from relay.handlers.s3 import Handler
from relay.model import ObjectRef
from relay.outbound.credentials import Anonymous, request_token
from relay.outbound.fetch import Fetcher
from relay.outbound.responses import translate
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster
from relay.sources.rest import HttpApi, StorageRequest
from relay.targets.changes import FunctionName
from relay.targets.functiongraph.target import Target
from relay.testing.target_suite import ChangeRecorder, export, ignore
from tests.outbound.servers import OK, Server, reply, serving

OUTBOUND = HttpClientFactory(connect_timeout=2, read_timeout=2)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)


# Every client of Relay, as it calls a URL


def target(url: str) -> object:
    settings = Target.Settings(
        kind="functiongraph",
        region="cn-north-4",
        project_id="0" * 32,
        endpoint=url,
        access_key="AK",
        secret_key="SK-secret",
    )
    with closing(Target("prod", settings, OUTBOUND)) as prod:
        return prod.create(FunctionName("hello", "default"), export(), ChangeRecorder(), ignore)


def channel(url: str) -> object:
    with closing(Poster(HttpClientFactory(allow_private=()), url)) as poster:
        return poster.post(b"{}", {})


def storage(url: str) -> object:
    with closing(HttpApi(Anonymous(), lambda response, name: PermanentFailure(name, ""))) as api:
        return api.send(StorageRequest(f"{url}/object"), "object")


def envelope(url: str) -> object:
    with closing(Fetcher()) as fetch:
        return fetch(f"{url}/certificate.pem")


def token(url: str) -> object:
    return request_token(f"{url}/token", {}, "issuer")


def s3(url: str) -> object:
    settings = Handler.Settings(
        kind="s3", endpoint_url=url, access_key_id="k", secret_access_key="secret-value"
    )
    with closing(Handler("exports", settings)) as handler:
        return handler.open(ObjectRef("exports", "a.zip"))


CLIENTS: dict[str, Callable[[str], object]] = {
    "target": target,
    "channel": channel,
    "storage": storage,
    "envelope": envelope,
    "token": token,
    "s3": s3,
}


def failure(client: str, url: str) -> RelayError:
    with pytest.raises(RelayError) as failed:
        CLIENTS[client](url)
    for text in (failed.value.message, failed.value.hint):
        assert text.en != text.zh
        assert "secret" not in text.en + text.zh
    return failed.value


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


# Proxies

UNUSABLE_PROXIES = [
    "foo://proxy:3128",
    "http://",
    "http://[::1",
    "http://proxy:99999",
    "http://user:secret@proxy:port",
    "http://a..b:3128",
    f"http://{'a' * 64}.example:3128",
    "not a proxy",
    ":::",
]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("proxy", [*UNUSABLE_PROXIES, "socks5://user:secret@127.0.0.1:1080"])
def test_an_unusable_proxy_is_temporary_and_its_variable_is_named(
    client: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = failure(client, "https://93.184.215.14")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.proxy")
    assert "HTTPS_PROXY" in error.message.en
    assert "HTTPS_PROXY" in error.message.zh


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "s3"])
def test_socks_without_its_package_is_temporary_and_the_package_is_named(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "socks5h://user:secret@127.0.0.1:1080")
    error = failure(client, "http://93.184.215.14")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.proxy")
    assert "PySocks" in error.message.en
    assert "all_proxy" in error.message.en


@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_refuses_connections_is_named(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = closed_port()
    monkeypatch.setenv("https_proxy", f"http://user:secret@127.0.0.1:{port}")
    error = failure(client, "https://93.184.215.14")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.proxy")
    assert "https_proxy" in error.message.en
    assert f"127.0.0.1:{port} refused the connection" in error.message.en


@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_refuses_the_server_is_named(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(reply(b"HTTP/1.1 407 Authenticate\r\nContent-Length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        error = failure(client, "https://93.184.215.14")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.proxy")
    where = "the server" if client == "s3" else "93.184.215.14:443"  # the SDK does not tell
    assert f"refused a connection to {where} (407)" in error.message.en


# CA files


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_an_unusable_ca_file_is_temporary_and_named(
    client: str,
    content: str | None,
    tls: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    name = "AWS_CA_BUNDLE" if client == "s3" else "REQUESTS_CA_BUNDLE"
    monkeypatch.setenv(name, str(path))
    monkeypatch.setattr(HttpClientFactory, "guard", lambda *_: None)
    with serving(reply(OK), tls) as server:
        error = failure(client, server.url)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.ca_file")
    assert str(path) in error.message.en
    assert name in error.message.en


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "s3"])
def test_an_unusable_key_log_file_is_temporary_and_named(
    client: str, tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "missing" / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    monkeypatch.setattr(HttpClientFactory, "guard", lambda *_: None)
    with serving(reply(OK), tls) as server:
        error = failure(client, server.url)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.file")
    assert str(path) in error.message.en


def test_an_unusable_key_log_file_is_named_when_the_sdk_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "missing" / "keys"))
    with pytest.raises(ConfigError, match="missing/keys cannot be used"):
        s3("https://localhost")


# Hosts


@pytest.mark.parametrize("client", ["storage", "envelope", "token"])
@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example", ".example"])
def test_an_invalid_host_name_is_permanent_and_named(client: str, host: str) -> None:
    error = failure(client, f"https://{host}")
    assert (type(error), error.code) == (PermanentFailure, "outbound.url")
    assert host in error.message.en


@pytest.mark.parametrize("client", CLIENTS)
def test_a_host_name_that_does_not_resolve_is_named(client: str) -> None:
    error = failure(client, "http://nowhere.invalid")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.unreachable")
    assert "nowhere.invalid cannot be resolved" in error.message.en


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refused_connection_is_reported_with_address_and_port(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HttpClientFactory, "guard", lambda *_: None)
    port = closed_port()
    error = failure(client, f"http://127.0.0.1:{port}")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.unreachable")
    assert error.message.en == f"127.0.0.1:{port} refused the connection"


# TLS that never came up


def hang_up(self: Server, connection: socket.socket) -> None:
    connection.recv(4096)


def answer_in_plain_text(self: Server, connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("script", "words"),
    [(answer_in_plain_text, "does not speak TLS"), (hang_up, "TLS connection to localhost:")],
)
def test_tls_that_did_not_come_up_is_temporary_because_nothing_was_sent(
    client: str,
    script: Callable[[Server, socket.socket], None],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HttpClientFactory, "guard", lambda *_: None)
    with serving(script) as server:
        error = failure(client, f"https://localhost:{server.port}")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.tls")
    assert words in error.message.en
    assert f"localhost:{server.port}" in error.message.en


def test_a_tls_handshake_that_does_not_end_is_temporary() -> None:
    with serving(lambda self, _: self.done.wait() and None) as server:
        outbound = HttpClientFactory(connect_timeout=0.3, read_timeout=5)
        with (
            outbound.session(guarded=False) as client,
            pytest.raises(requests.RequestException) as failed,
        ):
            client.post(f"https://localhost:{server.port}", data=b"x")
    error = translate(failed.value, sent=True)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.tls")
    assert "handshake did not end in time" in error.message.en


@pytest.mark.parametrize("client", CLIENTS)
def test_plain_http_to_a_tls_port_is_named(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def alert(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"\x15\x03\x01\x00\x02\x02\x0a")  # fatal: unexpected message

    monkeypatch.setattr(HttpClientFactory, "guard", lambda *_: None)
    with serving(alert) as server:
        error = failure(client, f"http://localhost:{server.port}")
    assert (type(error), error.code) == (TemporaryFailure, "outbound.tls")
    assert "speaks TLS" in error.message.en


# Lost responses


def read_and_hang_up(self: Server, connection: socket.socket) -> None:
    self.request(connection)


def test_a_response_is_lost_only_if_the_request_was_sent() -> None:
    with serving(read_and_hang_up) as server, pytest.raises(OutcomeUnknown) as lost:
        target(server.url)
    assert lost.value.code == "outbound.answer_lost"


def test_a_request_whose_body_broke_off_was_not_sent() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)

    class Body:
        def __len__(self) -> int:
            return 2**26

        def __iter__(self):  # type: ignore[no-untyped-def]
            for _ in range(64):
                yield b"x" * 2**20

    with (
        serving(script) as server,
        OUTBOUND.session(guarded=False) as client,
        pytest.raises(requests.RequestException) as failed,
    ):
        client.post(server.url, data=Body())
    error = translate(failed.value, sent=True)
    assert (type(error), error.code) == (TemporaryFailure, "outbound.interrupted")
    assert "before the request was sent" in error.message.en
