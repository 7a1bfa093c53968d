"""The s3 handler against a store that misbehaves: scripted responses on a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from email.parser import Parser

import pytest

from relay.errors import Gone, PermanentFailure, RelayError, Superseded, TemporaryFailure
from relay.handlers.s3 import Handler
from relay.model import ObjectRef
from tests.outbound.servers import Server, serving

REF = ObjectRef("exports", "a.zip", etag="abc")
StartStore = Callable[..., Handler]


@pytest.fixture
def requests() -> list[str]:
    """The heads of the requests that the store received."""
    return []


@pytest.fixture
def start_store(requests: list[str]) -> Iterator[StartStore]:
    """Start a store that sends a response per connection; return a handler for it."""
    cleanups: list[Callable[[], None]] = []

    def start(*responses: bytes) -> Handler:
        listener = socket.create_server(("127.0.0.1", 0))
        arguments = (listener, list(responses), requests)
        thread = threading.Thread(target=_serve, args=arguments, daemon=True)
        thread.start()
        handler = handler_for(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def stop() -> None:
            handler.close()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(5)

        cleanups.append(stop)
        return handler

    yield start
    for stop in cleanups:
        stop()


def _serve(listener: socket.socket, responses: list[bytes], requests: list[str]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with closing(connection):
            request = b""
            while b"\r\n\r\n" not in request and (data := connection.recv(65536)):
                request += data
            requests.append(request.decode("latin-1"))
            # The SDK retries: the last response is repeated.
            connection.sendall(responses.pop(0) if len(responses) > 1 else responses[0])


def headers_of(request: str) -> dict[str, str]:
    parsed = Parser().parsestr(request.partition("\r\n")[2], headersonly=True)
    return {name.lower(): value for name, value in parsed.items()}


def response(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = {"Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def error(status: str, code: str, **headers: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return response(status, body, **headers)


@pytest.mark.parametrize(
    ("sent", "branch", "code"),
    [
        (error("404 Not Found", "NoSuchKey"), Gone, "object.gone"),
        (error("404 Not Found", "NoSuchVersion"), Gone, "object.gone"),
        (
            error("405 Not Allowed", "MethodNotAllowed", x_amz_delete_marker="true"),
            Gone,
            "object.gone",
        ),
        (error("405 Not Allowed", "MethodNotAllowed"), PermanentFailure, "storage.refused"),
        (response("404 Not Found"), TemporaryFailure, "storage.unexplained_404"),
        (
            response("404 Not Found", b"<html><body>no backend<br></body></html>"),
            TemporaryFailure,
            "storage.unexplained_404",
        ),
        (
            response("404 Not Found", b"<html><body>no backend</body></html>"),
            TemporaryFailure,
            "storage.unexplained_404",
        ),
        (response("404 Not Found", b'{"code": 404}'), TemporaryFailure, "storage.unexplained_404"),
        (error("404 Not Found", "NoSuchThing"), TemporaryFailure, "storage.unexplained_404"),
        (error("404 Not Found", "NoSuchBucket"), TemporaryFailure, "storage.no_bucket"),
        (error("412 No", "PreconditionFailed"), Superseded, "object.superseded"),
        (response("412 No"), Superseded, "object.superseded"),
        (error("403 Forbidden", "AccessDenied"), PermanentFailure, "storage.denied"),
        (error("403 Forbidden", "SignatureDoesNotMatch"), TemporaryFailure, "storage.denied"),
        (error("403 Forbidden", "RequestTimeTooSkewed"), TemporaryFailure, "storage.denied"),
        (error("403 Forbidden", "InvalidAccessKeyId"), TemporaryFailure, "storage.denied"),
        (error("400 Bad", "ExpiredToken"), TemporaryFailure, "storage.denied"),
        (response("401 Unauthorized"), TemporaryFailure, "storage.denied"),
        (error("403 Forbidden", "InvalidObjectState"), PermanentFailure, "object.archived"),
        (error("400 Bad", "InvalidArgument"), PermanentFailure, "storage.refused"),
        (
            error("400 Bad", "AuthorizationHeaderMalformed"),
            PermanentFailure,
            "storage.other_region",
        ),
        (error("503 Slow", "SlowDown"), TemporaryFailure, "storage.busy"),
        (error("500 Oops", "InternalError"), TemporaryFailure, "storage.busy"),
        (error("429 Many", "TooManyRequests"), TemporaryFailure, "storage.busy"),
        (response("502 Bad Gateway", b"<html>proxy"), TemporaryFailure, "storage.busy"),
        (b"HTTP/1.1 200 OK\r\nContent-", TemporaryFailure, "storage.no_length"),
        (b"", TemporaryFailure, "storage.unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", TemporaryFailure, "storage.unreachable"),
    ],
)
def test_an_error_response_is_translated(
    start_store: StartStore, sent: bytes, branch: type[RelayError], code: str
) -> None:
    with pytest.raises(branch) as raised:
        start_store(sent).open(REF)
    assert raised.value.code == code
    assert "secret-value" not in f"{raised.value} {raised.value.answer}"
    assert raised.value.message.zh != raised.value.message.en


@pytest.mark.parametrize(
    ("sent", "branch", "code"),
    [
        (error("404 Not Found", "NoSuchKey"), Gone, "object.gone"),
        (error("404 Not Found", "NoSuchBucket"), TemporaryFailure, "storage.no_bucket"),
        (error("503 Slow", "SlowDown"), TemporaryFailure, "storage.busy"),
        (response("404 Not Found"), TemporaryFailure, "storage.unexplained_404"),
        (error("416 No", "InvalidRange"), TemporaryFailure, "storage.unexplained_404"),
        (
            response("206 Partial Content", b"x", ETag='"abc"'),
            TemporaryFailure,
            "storage.unexplained_404",
        ),
    ],
)
def test_a_404_for_head_is_explained_by_a_get(
    start_store: StartStore,
    requests: list[str],
    sent: bytes,
    branch: type[RelayError],
    code: str,
) -> None:
    with pytest.raises(branch) as raised:
        start_store(response("404 Not Found"), sent).open(REF, 1, 1)
    assert raised.value.code == code
    assert [request.split()[0] for request in requests][:2] == ["HEAD", "GET"]
    assert headers_of(requests[1])["range"] == "bytes=0-0"


def handler_for(url: str) -> Handler:
    settings = Handler.Settings(
        kind="s3",
        endpoint_url=url,
        addressing_style="path",
        access_key_id="k",
        secret_access_key="secret-value",
    )
    return Handler("exports", settings)


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_every_request_gets_its_own_response_after_interim_ones(status: str) -> None:
    def script(self: Server, connection: socket.socket) -> None:
        for number in range(3):
            self.head(connection)
            connection.sendall(f"HTTP/1.1 {status}\r\nLink: </a>\r\n\r\n".encode() * 3)
            connection.sendall(
                response("200 OK", b"%d" % number, ETag='"abc"', Connection="keep-alive")
            )

    with serving(script) as server, closing(handler_for(server.url)) as handler:
        for number in range(3):
            with closing(handler.open(REF)) as stream:
                assert stream.read(100) == b"%d" % number
    assert len(server.received) == 3


def test_a_connection_with_bytes_after_the_response_is_not_reused() -> None:
    kept = response("200 OK", b"content", ETag='"abc"', Connection="keep-alive")
    connections: list[int] = []

    def script(self: Server, connection: socket.socket) -> None:
        connections.append(1)
        while self.head(connection):
            connection.sendall(kept + response("200 OK", b"another", ETag='"abc"'))

    with serving(script) as server, closing(handler_for(server.url)) as handler:
        for _ in range(3):
            with closing(handler.open(REF)) as stream:
                assert stream.read(100) == b"content"
        assert len(connections) == 3


def test_endless_interim_responses_end_the_request() -> None:
    def script(self: Server, connection: socket.socket) -> None:
        self.head(connection)
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 100)
        self.done.wait()

    with serving(script) as server, closing(handler_for(server.url)) as handler:
        with pytest.raises(TemporaryFailure) as raised:
            handler.open(REF)
        assert raised.value.code == "storage.unreachable"


DECRYPT = (
    "User: arn:aws:iam::123456789012:user/relay is not authorized to perform: kms:Decrypt on the "
    "resource associated with this ciphertext"
)
SSE_C = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be "
    "provided to retrieve the object."
)


@pytest.mark.parametrize(
    ("status", "code", "message", "branch", "expected"),
    [
        ("400 Bad", "KMS.DisabledException", "arn is disabled.", PermanentFailure, "storage.kms"),
        ("400 Bad", "KMS.NotFoundException", "no key", PermanentFailure, "storage.kms"),
        ("400 Bad", "KMS.KMSInvalidStateException", "pending", PermanentFailure, "storage.kms"),
        ("403 No", "AccessDenied", DECRYPT, PermanentFailure, "storage.kms"),
        ("403 No", "KMS.AccessDeniedException", "no", PermanentFailure, "storage.kms"),
        ("400 Bad", "KMS.0209", "The key has been disabled.", PermanentFailure, "storage.kms"),
        ("409 Conflict", "KmsKeyStateInvalid", "disabled", PermanentFailure, "storage.kms"),
        ("403 No", "InvalidRequest", "KMS is not enabled", PermanentFailure, "storage.kms"),
        ("400 Bad", "InvalidRequest", SSE_C, PermanentFailure, "storage.customer_key"),
        ("403 No", "AccessDenied", "Access Denied", PermanentFailure, "storage.denied"),
        (
            "403 No",
            "AccessDenied",
            "not authorized to perform: s3:GetObject on resource: arn:aws:s3:::kms-b/KMS/kms.zip",
            PermanentFailure,
            "storage.denied",
        ),
        ("400 Bad", "KMS.ThrottlingException", "Rate", TemporaryFailure, "storage.busy"),
        ("503 Slow", "SlowDown", "KMS is slow", TemporaryFailure, "storage.busy"),
        ("500 No", "KMS.KMSInternalException", "Oops", TemporaryFailure, "storage.busy"),
    ],
)
def test_errors_of_kms_are_explained(
    start_store: StartStore,
    status: str,
    code: str,
    message: str,
    branch: type[RelayError],
    expected: str,
) -> None:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    with pytest.raises(branch) as raised:
        start_store(response(status, body)).open(REF)
    assert raised.value.code == expected
    assert "arn:" not in str(raised.value)
    if expected in ("storage.kms", "storage.denied"):
        assert "kms:Decrypt" in raised.value.hint.en
        assert "kms:Decrypt" in raised.value.hint.zh


def test_retry_after_of_a_busy_store_is_honoured(start_store: StartStore) -> None:
    sent = error("503 Slow Down", "SlowDown", Retry_After="7")
    with pytest.raises(TemporaryFailure) as raised:
        start_store(sent).open(REF)
    assert raised.value.retry_after == timedelta(seconds=7)


def test_a_refused_connection_is_a_temporary_failure() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    settings = Handler.Settings(
        kind="s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id="k",
        secret_access_key="s",
    )
    with closing(Handler("exports", settings)) as handler, pytest.raises(TemporaryFailure):
        handler.open(REF)


def test_missing_credentials_are_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    settings = Handler.Settings(kind="s3", endpoint_url="http://127.0.0.1:1")
    with (
        closing(Handler("exports", settings)) as handler,
        pytest.raises(TemporaryFailure) as raised,
    ):
        handler.open(REF)
    assert "NoCredentialsError" in raised.value.message.en
    assert "keys" in raised.value.hint.en


def test_a_truncated_body_is_an_error(start_store: StartStore) -> None:
    sent = response("200 OK", b"half", ETag='"abc"', Content_Length="8")
    with closing(start_store(sent).open(REF)) as stream:
        assert stream.read(100) == b"half"
        with pytest.raises(TemporaryFailure) as raised:
            stream.read(100)
    assert raised.value.code == "object.cut"


def test_a_truncated_range_is_an_error(start_store: StartStore) -> None:
    sent = response(
        "206 Partial Content",
        b"ha",
        ETag='"abc"',
        Content_Length="4",
        Content_Range="bytes 2-5/10",
    )
    with closing(start_store(sent).open(REF, 2, 6)) as stream:
        assert stream.info.size == 10
        assert stream.read(100) == b"ha"
        with pytest.raises(TemporaryFailure):
            stream.read(100)


def test_a_read_sends_the_etag_in_if_match(start_store: StartStore, requests: list[str]) -> None:
    handler = start_store(response("200 OK", b"bytes", ETag='"abc"'))
    handler.open(REF).close()
    handler.open(REF, 1, 1).close()  # an empty range, read by HEAD
    assert [request.split()[0] for request in requests] == ["GET", "HEAD"]
    assert [headers_of(request)["if-match"] for request in requests] == ['"abc"', '"abc"']


def test_a_read_of_a_version_sends_the_version_id_alone(
    start_store: StartStore, requests: list[str]
) -> None:
    handler = start_store(response("200 OK", b"bytes", ETag='"abc"', x_amz_version_id="1"))
    handler.open(ObjectRef("exports", "a.zip", version="1", etag="abc")).close()
    (request,) = requests
    assert request.startswith("GET /exports/a.zip?versionId=1 ")
    assert "if-match" not in headers_of(request)


def test_another_etag_is_superseded_if_the_store_ignores_if_match(
    start_store: StartStore,
) -> None:
    with pytest.raises(Superseded):
        start_store(response("200 OK", b"new bytes", ETag='"other"')).open(REF)


def test_another_version_is_superseded_if_the_store_ignores_version_ids(
    start_store: StartStore,
) -> None:
    sent = response("200 OK", b"new bytes", x_amz_version_id="2")
    with pytest.raises(Superseded):
        start_store(sent).open(ObjectRef("exports", "a.zip", version="1"))


def test_a_response_without_the_range_is_an_error(start_store: StartStore) -> None:
    with pytest.raises(PermanentFailure) as raised:
        start_store(response("200 OK", b"0123456789", ETag='"abc"')).open(REF, 5, 8)
    assert raised.value.code == "storage.no_ranges"


def test_a_range_from_the_start_is_cut_from_a_full_response(start_store: StartStore) -> None:
    with closing(
        start_store(response("200 OK", b"0123456789", ETag='"abc"')).open(REF, 0, 3)
    ) as stream:
        assert (stream.read(100), stream.read(100), stream.info.size) == (b"012", b"", 10)


@pytest.mark.parametrize("given", ["bytes 0-2/10", "bytes 5-9/10", "bytes 5-6/10", "bytes 5-7/*"])
def test_another_range_than_requested_is_an_error(start_store: StartStore, given: str) -> None:
    sent = response("206 Partial Content", b"567", ETag='"abc"', Content_Range=given)
    with pytest.raises(PermanentFailure):
        start_store(sent).open(REF, 5, 8)


def test_a_range_of_an_empty_object_is_empty(start_store: StartStore) -> None:
    empty = response("200 OK", ETag='"abc"')
    handler = start_store(error("416 No", "InvalidRange"), empty)
    with closing(handler.open(REF, 0, 1)) as stream:
        assert stream.read(10) == b""
        assert stream.info.size == 0
