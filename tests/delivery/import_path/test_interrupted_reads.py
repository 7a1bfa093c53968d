"""Interrupted downloads: the import resumes with the same bytes, or not at all."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from relay.model import Event, Incoming, Kind, ObjectRef, Origin, State, utc_now
from relay.testing.sandbox.exports import make_export

from .conftest import World, code_of

S3 = """
kind = "s3"
endpoint_url = "{url}"
region = "us-east-1"
access_key_id = "test"
secret_access_key = "test-secret"
addressing_style = "path"
buckets = ["exports"]
"""
CODE_SIZE = 5_000_000


class FakeStorage:
    """A single object behind the S3 GET.

    `break_at`: lengths at which the next long responses break off. `on_break` runs at each break.
    """

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.break_at: list[int] = []
        self.on_break: Callable[[], None] = lambda: None
        self.ranges: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def etag(self) -> str:
        return hashlib.md5(self.body).hexdigest()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        storage = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                storage.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body, etag = self.body, self.etag
        if request.headers.get("If-Match", f'"{etag}"').strip('"') != etag:
            error = b"<Error><Code>PreconditionFailed</Code></Error>"
            request.send_response(412)
            request.send_header("Content-Length", str(len(error)))
            request.end_headers()
            request.wfile.write(error)
            return
        requested = request.headers.get("Range", "bytes=0-")
        self.ranges.append(requested)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", requested).groups()
        start, end = int(first), int(last) + 1 if last else len(body)
        request.send_response(206)
        request.send_header("Content-Length", str(end - start))
        request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        request.send_header("ETag", f'"{etag}"')
        request.send_header("Last-Modified", format_datetime(utc_now(), usegmt=True))
        request.end_headers()
        part = body[start:end]
        if self.break_at and len(part) > 1_000_000:
            part = part[: self.break_at.pop(0)]
            self.on_break()
        request.wfile.write(part)
        request.close_connection = True


@pytest.fixture
def storage() -> Iterator[FakeStorage]:
    storage = FakeStorage(make_export("hello", code_size=CODE_SIZE))
    yield storage
    storage.close()


@pytest.fixture
def world(make_world: Callable[..., World], storage: FakeStorage) -> World:
    """A relay whose source is that storage, with a notification of the current object."""
    world = make_world(source=S3.format(url=storage.url))
    ref = ObjectRef("exports", "hello.zip", etag=storage.etag, size=len(storage.body))
    event = Event(ref, f"etag:{storage.etag}", "put")
    world.relay.intake.accept_found(Incoming("exports", b"", utc_now(), Origin.SCAN), [event])
    return world


def test_an_interrupted_download_resumes_at_the_same_byte_within_the_call(
    world: World, storage: FakeStorage
) -> None:
    storage.break_at = [1_500_000, 2_000_000]
    assert world.until_finished(attempts=1).state == State.SUCCEEDED
    assert world.stored("hello") == code_of(storage.body)
    assert len(world.imports) == 1
    to_the_end = [requested for requested in storage.ranges if requested.endswith("-")]
    assert to_the_end == ["bytes=0-", "bytes=1500000-", "bytes=3500000-"]


@pytest.mark.parametrize("newer_size", [CODE_SIZE, 10], ids=["as long", "shorter"])
def test_an_object_that_changed_during_the_download_is_superseded(
    world: World, storage: FakeStorage, newer_size: int
) -> None:
    before = len(storage.body)
    newer = make_export("hello", code={"index.py": b"newer\n"}, code_size=newer_size)
    storage.break_at = [3_000_000]
    storage.on_break = lambda: setattr(storage, "body", newer)
    delivery = world.until_finished(attempts=1)
    assert (delivery.state, delivery.reason) == (State.SKIPPED, "superseded")
    [call] = world.imports
    assert (call.applied, call.status) == (False, None)
    assert call.received < before * 4 // 3
    assert world.sandbox.functions == {}
    assert world.message_types == ["import.skipped"]


def test_an_object_whose_download_always_breaks_is_retried_and_never_partly_imported(
    world: World, storage: FakeStorage
) -> None:
    storage.break_at = [100] * 50
    world.attempt()
    [delivery] = world.deliveries(Kind.IMPORT)
    assert delivery.state == State.PENDING
    assert world.sandbox.functions == {}
    storage.break_at = []
    assert world.until_finished().state == State.SUCCEEDED
    assert world.stored("hello") == code_of(storage.body)
