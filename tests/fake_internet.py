"""A fake internet on loopback: TLS servers for public host names.

The code under test uses the real URLs (`https://sns.us-east-1.amazonaws.com/...`, port 443) and the
real HTTP stack (requests, urllib3, the guard of relay.outbound); only names resolve differently:

    def test_something(internet):
        internet.serve("hooks.slack.com", lambda request: b"ok")
        fetcher = Fetcher(allow_private=internet.allowed)   # without it the guard refuses
        assert fetcher("https://hooks.slack.com/services/T1") == b"ok"
        [request] = internet.requests
        assert (request.method, request.path) == ("GET", "/services/T1")

- `serve(host, handler)`: the name resolves to this server, which has a certificate for it.
  `handler` takes a `Request` and returns a `Reply`, or the bytes of a 200. It can be replaced.
- `requests`: all received requests, oldest first; `to(host)`: those to a host.
- `names`: all names that were looked up, except those of this machine. Names that are not served
  do not exist: no test reaches the real internet through this fixture.
- `trusted = False`: new connections show the certificate of an untrusted CA.

It patches `socket.getaddrinfo` in this process, and REQUESTS_CA_BUNDLE, so that `requests` trusts
the CA. Child processes see no names. Plain HTTP to such a name fails, because the server uses TLS.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
LONGEST = 10 * 2**20


@dataclass(frozen=True)
class Request:
    """A received request. `path` includes the query; header names are in lower case."""

    host: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """The response of a host."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Reply | bytes]


class Authority:
    """A CA for tests. `bundle`: the file with the certificate, as PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: dict[str, ssl.SSLContext] = {}
        public = self.key.public_key()
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._begun(self.name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.bundle = folder / "ca.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, host: str) -> ssl.SSLContext:
        """The TLS context of a server with that name."""
        if host not in self._contexts:
            path = self.folder / f"{host}.pem"
            path.write_bytes(self._leaf(host))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
            self._contexts[host] = context
        return self._contexts[host]

    def _leaf(self, host: str) -> bytes:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        # Not in the CN: a host name can be too long for it.
        certificate = (
            self._begun(x509.Name([]), self.leaf_key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(issuer, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM) + self.leaf_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def _begun(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> Any:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
        )


class Internet:
    """The served names, the handlers, and the received requests."""

    allowed = (ipaddress.ip_network("127.0.0.0/8"),)

    def __init__(self, authority: Authority, stranger: Authority) -> None:
        self.authority = authority
        self.stranger = stranger
        self.trusted = True
        self.requests: list[Request] = []
        self.names: list[str] = []
        self._handlers: dict[str, Handler] = {}
        self._getaddrinfo = socket.getaddrinfo
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def serve(self, host: str, handler: Handler) -> None:
        self._handlers[host] = handler

    def to(self, host: str) -> list[Request]:
        return [request for request in self.requests if request.host == host]

    def answer(self, request: Request) -> Reply:
        self.requests.append(request)
        handler = self._handlers.get(request.host)
        reply = handler(request) if handler else Reply(421)
        return reply if isinstance(reply, Reply) else Reply(body=reply)

    def context(self, host: str) -> ssl.SSLContext:
        return (self.authority if self.trusted else self.stranger).context(host)

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        """Replace the system's: served names resolve to this server, others do not exist."""
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or name == "localhost" or _is_number(name):
            return self._getaddrinfo(host, port, *args, **kwargs)
        self.names.append(name)
        if name not in self._handlers:
            raise socket.gaierror(socket.EAI_NONAME, f"the tests know no {name}")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", self._server.server_address)]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, internet: Internet) -> None:
        self.internet = internet
        super().__init__(("127.0.0.1", 0), _Talk)

    def handle_error(self, *_: Any) -> None:
        """Ignore clients that refuse the certificate: some tests cause this."""


class _Talk(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def setup(self) -> None:
        self.host = ""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = self._named
        self.request = context.wrap_socket(self.request, server_side=True)
        super().setup()

    def _named(self, sock: Any, name: str | None, _context: Any) -> None:
        self.host = name or ""
        if name:
            sock.context = self.server.internet.context(name)

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        # The server closes only the socket that it accepted, not this TLS socket.
        self.request.close()

    def _answer(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), LONGEST))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.host, self.command, self.path, headers, body)
        reply = self.server.internet.answer(request)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, *_: Any) -> None:
        pass


def _is_number(name: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """The CA of the fake internet, and an untrusted CA."""
    return (
        Authority(tmp_path_factory.mktemp("authority"), "The tests' internet"),
        Authority(tmp_path_factory.mktemp("stranger"), "A stranger"),
    )


@pytest.fixture
def internet(
    authorities: tuple[Authority, Authority], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Internet]:
    """A separate internet for each test; see the module."""
    made = Internet(*authorities)
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authorities[0].bundle))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "*")
    try:
        yield made
    finally:
        made.close()
