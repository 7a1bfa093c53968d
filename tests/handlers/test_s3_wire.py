"""The s3 handler against stores that misbehave: answers written byte by byte on a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta

import pytest

from relay.errors import Gone, PermanentFailure, RelayError, Superseded, TemporaryFailure
from relay.handlers.s3 import Handler
from relay.model import ObjectRef

REF = ObjectRef("exports", "a.zip", etag="abc")
Answering = Callable[..., Handler]


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[Answering]:
    """A handler of a store that answers each request with the next of these texts, then closes."""
    ends: list[Callable[[], None]] = []

    def start(*answers: bytes) -> Handler:
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(listener, list(answers)), daemon=True)
        thread.start()
        handler = Handler(
            "exports",
            Handler.Settings(
                kind="s3",
                endpoint_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
                addressing_style="path",
                access_key_id="k",
                secret_access_key="secret-value",
            ),
        )

        def end() -> None:
            handler.close()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(5)

        ends.append(end)
        return handler

    yield start
    for end in ends:
        end()


def _serve(listener: socket.socket, answers: list[bytes]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with closing(connection):
            request = b""
            while b"\r\n\r\n" not in request and (more := connection.recv(65536)):
                request += more
            # The last answer serves every further try: the SDK's own retries see the same.
            connection.sendall(answers.pop(0) if len(answers) > 1 else answers[0])


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = {"Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def error(status: str, code: str, **headers: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return answer(status, body, **headers)


@pytest.mark.parametrize(
    ("told", "branch", "code"),
    [
        (error("404 Not Found", "NoSuchKey"), Gone, "object.gone"),
        (error("404 Not Found", "NoSuchVersion"), Gone, "object.gone"),
        (error("405 Not Allowed", "MethodNotAllowed"), Gone, "object.gone"),
        (answer("404 Not Found"), Gone, "object.gone"),
        (error("404 Not Found", "NoSuchBucket"), PermanentFailure, "storage.no_bucket"),
        (error("412 No", "PreconditionFailed"), Superseded, "object.superseded"),
        (answer("412 No"), Superseded, "object.superseded"),
        (error("403 Forbidden", "AccessDenied"), PermanentFailure, "storage.denied"),
        (error("403 Forbidden", "SignatureDoesNotMatch"), PermanentFailure, "storage.denied"),
        (error("400 Bad", "ExpiredToken"), PermanentFailure, "storage.denied"),
        (answer("401 Unauthorized"), PermanentFailure, "storage.denied"),
        (error("403 Forbidden", "InvalidObjectState"), PermanentFailure, "object.archived"),
        (error("400 Bad", "KMS.Disabled"), PermanentFailure, "storage.refused"),
        (
            error("400 Bad", "AuthorizationHeaderMalformed"),
            PermanentFailure,
            "storage.other_region",
        ),
        (error("503 Slow", "SlowDown"), TemporaryFailure, "storage.busy"),
        (error("500 Oops", "InternalError"), TemporaryFailure, "storage.busy"),
        (error("429 Many", "TooManyRequests"), TemporaryFailure, "storage.busy"),
        (answer("502 Bad Gateway", b"<html>proxy"), TemporaryFailure, "storage.busy"),
        (b"HTTP/1.1 200 OK\r\nContent-", TemporaryFailure, "storage.no_length"),
        (b"", TemporaryFailure, "storage.unreachable"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", TemporaryFailure, "storage.unreachable"),
    ],
)
def test_an_error_of_the_store_is_one_of_ours(
    answering: Answering, told: bytes, branch: type[RelayError], code: str
) -> None:
    with pytest.raises(branch) as raised:
        answering(told).open(REF)
    assert raised.value.code == code
    assert "secret-value" not in f"{raised.value} {raised.value.answer}"
    assert raised.value.message.zh != raised.value.message.en


def test_the_wait_that_a_busy_store_asks_for_is_kept(answering: Answering) -> None:
    told = error("503 Slow Down", "SlowDown", Retry_After="7")
    with pytest.raises(TemporaryFailure) as raised:
        answering(told).open(REF)
    assert raised.value.retry_after == timedelta(seconds=7)


def test_a_store_that_nobody_runs_is_a_temporary_failure() -> None:
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


def test_without_keys_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    settings = Handler.Settings(kind="s3", endpoint_url="http://127.0.0.1:1")
    with (
        closing(Handler("exports", settings)) as handler,
        pytest.raises(PermanentFailure) as raised,
    ):
        handler.open(REF)
    assert "NoCredentialsError" in raised.value.message.en
    assert "keys" in raised.value.hint.en


def test_a_body_that_ends_early_is_never_taken_for_the_whole(answering: Answering) -> None:
    told = answer("200 OK", b"half", ETag='"abc"', Content_Length="8")
    with closing(answering(told).open(REF)) as stream:
        assert stream.read(100) == b"half"
        with pytest.raises(TemporaryFailure) as raised:
            stream.read(100)
    assert raised.value.code == "object.cut"


def test_a_range_that_ends_early_is_never_taken_for_the_whole(answering: Answering) -> None:
    told = answer(
        "206 Partial Content",
        b"ha",
        ETag='"abc"',
        Content_Length="4",
        Content_Range="bytes 2-5/10",
    )
    with closing(answering(told).open(REF, 2, 6)) as stream:
        assert stream.info.size == 10
        assert stream.read(100) == b"ha"
        with pytest.raises(TemporaryFailure):
            stream.read(100)


def test_a_store_that_ignores_if_match_does_not_pass_another_object_off(
    answering: Answering,
) -> None:
    with pytest.raises(Superseded):
        answering(answer("200 OK", b"new bytes", ETag='"other"')).open(REF)


def test_a_store_that_ignores_versions_does_not_pass_another_version_off(
    answering: Answering,
) -> None:
    told = answer("200 OK", b"new bytes", x_amz_version_id="2")
    with pytest.raises(Superseded):
        answering(told).open(ObjectRef("exports", "a.zip", version="1"))


def test_a_store_that_ignores_ranges_is_found_out(answering: Answering) -> None:
    with pytest.raises(PermanentFailure) as raised:
        answering(answer("200 OK", b"0123456789", ETag='"abc"')).open(REF, 5, 8)
    assert raised.value.code == "storage.no_ranges"


def test_a_range_from_the_start_of_a_whole_answer_is_cut_to_size(answering: Answering) -> None:
    with closing(
        answering(answer("200 OK", b"0123456789", ETag='"abc"')).open(REF, 0, 3)
    ) as stream:
        assert (stream.read(100), stream.read(100), stream.info.size) == (b"012", b"", 10)


@pytest.mark.parametrize("given", ["bytes 0-2/10", "bytes 5-9/10", "bytes 5-6/10", "bytes 5-7/*"])
def test_another_range_than_asked_for_is_found_out(answering: Answering, given: str) -> None:
    told = answer("206 Partial Content", b"567", ETag='"abc"', Content_Range=given)
    with pytest.raises(PermanentFailure):
        answering(told).open(REF, 5, 8)


def test_a_refused_range_of_an_empty_object_is_its_end(answering: Answering) -> None:
    empty = answer("200 OK", ETag='"abc"')
    handler = answering(error("416 No", "InvalidRange"), empty)
    with closing(handler.open(REF, 0, 1)) as stream:
        assert stream.read(10) == b""
        assert stream.info.size == 0
