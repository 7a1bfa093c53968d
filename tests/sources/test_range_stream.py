"""Range reads: which responses are accepted, and that a stream ends at the announced length."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import ObjectInfo
from relay.outbound.session import HttpClientFactory
from relay.sources.http_storage import HttpStream, open_stream
from relay.sources.range_stream import RangeStream, parse_range, range_header

TEN_BYTES = b"0123456789"
Server = Callable[[bytes], str]


def read_all(stream: RangeStream, size: int) -> bytes:
    return b"".join(iter(lambda: stream.read(size), b""))


@pytest.fixture
def server() -> Iterator[Server]:
    """server(response) -> the URL of a server that sends these bytes once."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads = []

    def serve(response: bytes) -> str:
        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(response)

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"

    yield serve
    for thread in threads:
        thread.join()
    listener.close()


def open_url(url: str, start: int = 0, end: int | None = None) -> HttpStream:
    session = HttpClientFactory().session(guarded=False, streams=True, reuse=False)
    return open_stream(session.get(url), "exports/a.zip", (start, end), ObjectInfo)


@pytest.mark.parametrize("size", [1, 4, 7, 100])
@pytest.mark.parametrize("length", [0, 1, 6, 10])
def test_a_stream_never_returns_more_bytes_than_were_announced(length: int, size: int) -> None:
    stream = RangeStream(io.BytesIO(TEN_BYTES), ObjectInfo(length), length, "exports/a.zip")
    assert read_all(stream, size) == TEN_BYTES[:length]
    assert stream.read(size) == b""


def test_a_stream_that_ends_early_is_a_temporary_failure() -> None:
    stream = RangeStream(io.BytesIO(TEN_BYTES), ObjectInfo(11), 11, "exports/a.zip")
    assert stream.read(10) == TEN_BYTES
    with pytest.raises(TemporaryFailure, match=r"object\.cut"):
        stream.read(10)


def test_bytes_beyond_the_content_length_of_a_response_are_not_read(server: Server) -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + TEN_BYTES
    stream = open_url(server(response))
    assert stream.info.size == 6
    assert read_all(stream, 100) == TEN_BYTES[:6]
    stream.close()


def test_bytes_beyond_the_requested_range_are_not_read_from_a_whole_object(server: Server) -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + TEN_BYTES
    stream = open_url(server(response), 0, 4)
    assert stream.info.size == 10
    assert read_all(stream, 100) == TEN_BYTES[:4]
    stream.close()


@pytest.mark.parametrize(
    "content_range",
    ["bytes 2-5/10", "bytes 2-9/10", "bytes 2-8/10", "bytes 3-9/10", "bytes 2-5", "?"],
)
def test_a_range_that_does_not_match_its_body_or_the_request_is_refused(
    server: Server, content_range: str
) -> None:
    response = (
        b"HTTP/1.1 206 Partial\r\nContent-Length: 7\r\n"
        b"Content-Range: %s\r\n\r\n0123456" % content_range.encode()
    )
    with pytest.raises(PermanentFailure, match=r"storage\.no_ranges"):
        open_url(server(response), 2, 8)


def test_a_partial_response_without_content_range_is_refused(server: Server) -> None:
    response = b"HTTP/1.1 206 Partial\r\nContent-Length: 4\r\n\r\n0123"
    with pytest.raises(PermanentFailure, match=r"storage\.no_ranges"):
        open_url(server(response), 0, 4)


@pytest.mark.parametrize(
    ("start", "end", "header"),
    [
        (0, None, None),
        (0, 1, "bytes=0-0"),
        (5, None, "bytes=5-"),
        (2, 6, "bytes=2-5"),
    ],
)
def test_the_range_header_has_an_inclusive_end(
    start: int, end: int | None, header: str | None
) -> None:
    assert range_header(start, end) == header


@pytest.mark.parametrize(
    ("length", "content_range", "start", "end", "expected"),
    [
        (10, None, 0, None, (10, 10)),
        (10, None, 0, 4, (10, 4)),
        (10, None, 0, 20, (10, 10)),
        (4, "bytes 2-5/10", 2, 6, (10, 4)),
        (8, "bytes 2-9/10", 2, None, (10, 8)),
        (8, "bytes 2-9/10", 2, 20, (10, 8)),
    ],
)
def test_size_and_length_of_an_accepted_response(
    length: int,
    content_range: str | None,
    start: int,
    end: int | None,
    expected: tuple[int, int],
) -> None:
    assert parse_range(length, content_range, start, end, "x") == expected


@pytest.mark.parametrize(
    ("length", "content_range", "start", "end", "code"),
    [
        (None, None, 0, None, "storage.no_length"),
        (-1, None, 0, None, "storage.no_length"),
        (10, None, 2, 6, "storage.no_ranges"),
        (4, "bytes 2-5/*", 2, 6, "storage.no_ranges"),
        (5, "bytes 2-6/10", 2, 6, "storage.no_ranges"),
        (5, "bytes 2-5/10", 2, 6, "storage.no_ranges"),
        (4, "bytes 1-4/10", 2, 6, "storage.no_ranges"),
        (2, "bytes 2-3/10", 2, 6, "object.cut"),
    ],
)
def test_other_responses_are_refused(
    length: object, content_range: str | None, start: int, end: int | None, code: str
) -> None:
    with pytest.raises(RelayError) as raised:
        parse_range(length, content_range, start, end, "x")
    assert raised.value.code == code
