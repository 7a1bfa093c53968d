"""R2's queue, polled over HTTP from a fake of Cloudflare's API."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.config.load import Route, Settings, TargetSettings
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.handlers.r2.handler import Handler
from relay.intake.intake import Intake
from relay.intake.queue_poller import QueuePoller
from relay.ledger import DeliveryQuery, Ledger
from relay.ledger.errors import LedgerUnavailable
from relay.model import Incoming, Json, utc_now
from relay.sources.contract import Queue, QueueMessage
from relay.sources.s3.sqs import SqsQueue
from tests.handlers.rest_server import RecordedRequest, Response, RestServer, as_json
from tests.handlers.s3_family import record_of

TOKEN = "s3cr3t-queue-token"
QUEUE = "/client/v4/accounts/3f4b/queues/9d1c"


@dataclass
class Waiting:
    """A message: the body as the API returns it, and the current lease."""

    body: Any
    lease: str | None = None
    attempts: int = 0


class CloudflareServer(RestServer):
    """The API calls of a pull consumer. `is_listed`: the result of a pull is a bare list."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Waiting] = []
        self.is_listed = False
        self._leases = itertools.count()

    def send(self, record: Json, encoding: str = "json") -> None:
        text = json.dumps(record, ensure_ascii=False)
        encoded: Any = base64.b64encode(text.encode()).decode()
        self.messages.append(Waiting({"json": encoded, "text": text, "object": record}[encoding]))

    def redeliver(self) -> None:
        """Simulate the end of the visibility timeout."""
        for message in self.messages:
            message.lease = None

    def answer(self, request: RecordedRequest) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return failed(403, 10000, "Authentication error")
        if not request.path.startswith(QUEUE):
            return failed(404, 11000, "queue not found")
        rest = (request.method, request.path.removeprefix(QUEUE))
        with self.lock:
            if rest == ("POST", "/messages/pull"):
                return as_json(succeeded(self._pulled(request.json())))
            if rest == ("POST", "/messages/ack"):
                return as_json(succeeded(self._acknowledged(request.json())))
        if rest == ("GET", ""):
            return as_json(succeeded({"queue_id": "9d1c", "queue_name": "news"}))
        return failed(405, 10405, "Method not allowed for this authentication scheme")

    def _pulled(self, wanted: Json) -> Any:
        assert 1 <= wanted["batch_size"] <= 100
        assert 1000 <= wanted["visibility_timeout_ms"] <= 12 * 3600 * 1000
        out = [item for item in self.messages if item.lease is None][: wanted["batch_size"]]
        for message in out:
            message.lease, message.attempts = f"lease-{next(self._leases)}", message.attempts + 1
        encoded = [
            {
                "body": item.body,
                "id": f"{number:032x}",
                "timestamp_ms": 1689615013586,
                "attempts": item.attempts,
                "metadata": {"CF-Content-Type": "json"},
                "lease_id": item.lease,
            }
            for number, item in enumerate(out)
        ]
        return encoded if self.is_listed else {"message_backlog_count": 0, "messages": encoded}

    def _acknowledged(self, wanted: Json) -> Json:
        leases = {item["lease_id"] for item in wanted["acks"]}
        before = len(self.messages)
        self.messages = [item for item in self.messages if item.lease not in leases]
        return {"ackCount": before - len(self.messages), "retryCount": 0, "warnings": []}


def succeeded(result: Any) -> Json:
    return {"success": True, "errors": [], "messages": [], "result": result}


def failed(status: int, code: int, message: str) -> Response:
    errors = [{"code": code, "message": message}]
    r2_record = {"success": False, "errors": errors, "messages": [], "result": None}
    return as_json(r2_record, status)


@pytest.fixture
def server() -> Iterator[CloudflareServer]:
    with CloudflareServer() as server:
        yield server


def make_handler(server: CloudflareServer, **keys: Any) -> Handler:
    table = {
        "kind": "r2",
        "account": "3f4b",
        "queue_id": "9d1c",
        "queue_token": TOKEN,
        "api_url": f"{server.url}/client/v4",
        "access_key_id": "key",
        "secret_access_key": "secret",
        **keys,
    }
    return Handler("exports", Handler.Settings.model_validate(table))


@pytest.fixture
def handler(server: CloudflareServer) -> Iterator[Handler]:
    with closing(make_handler(server)) as handler:
        yield handler


@pytest.fixture
def queue(handler: Handler) -> Iterator[Queue]:
    queue = handler.queue()
    assert queue is not None
    with closing(queue):
        yield queue


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/relay.db")
    ledger.administration.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def poller(handler: Handler, ledger: Ledger) -> QueuePoller:
    settings = Settings(
        sources={"exports": handler.settings},
        targets={"prod": TargetSettings(kind="shelf")},
        routes=(Route(source="exports", target="prod"),),
    )
    intake = Intake(settings, ledger.intake, ledger.history, {"exports": handler}, clock=utc_now)
    poller = QueuePoller(intake, ledger.scans, clock=utc_now)
    poller.wait = 0.1
    return poller


def r2_record(key: str) -> Json:
    return record_of("r2", "object.key", key)


def delivered(ledger: Ledger) -> list[str]:
    return sorted(item.key for item in ledger.history.deliveries(DeliveryQuery(limit=200)).items)


@pytest.mark.parametrize("encoding", ["json", "text", "object"])
@pytest.mark.parametrize("is_listed", [False, True])
def test_all_encodings_of_a_message_are_read(
    server: CloudflareServer, queue: Queue, encoding: str, is_listed: bool
) -> None:
    server.is_listed = is_listed
    server.send(r2_record("a+b%2B 导出.zip"), encoding)
    (message,) = queue.receive(0)
    assert json.loads(message.body) == r2_record("a+b%2B 导出.zip")
    assert message.receipt == server.messages[0].lease


def test_messages_are_acknowledged_after_storing(
    server: CloudflareServer, queue: Queue, poller: QueuePoller, ledger: Ledger
) -> None:
    server.send(r2_record("a.zip"))
    server.send(r2_record("b.zip"), "text")
    assert poller.poll_once("exports", queue) == 2
    assert delivered(ledger) == ["a.zip", "b.zip"]
    assert server.messages == []


def test_messages_that_were_not_stored_are_not_acknowledged(
    server: CloudflareServer, queue: Queue, poller: QueuePoller, ledger: Ledger
) -> None:
    server.send(r2_record("a.zip"))
    accept = poller.intake.accept_queued

    def full(_: Incoming) -> Any:
        raise LedgerUnavailable("store.unavailable", "The disk is full")

    poller.intake.accept_queued = full  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailable):
        poller.poll_once("exports", queue)
    assert len(server.messages) == 1
    assert [item.path for item in server.requests] == [f"{QUEUE}/messages/pull"]
    poller.intake.accept_queued = accept  # type: ignore[method-assign]
    server.redeliver()
    assert poller.poll_once("exports", queue) == 1
    assert delivered(ledger) == ["a.zip"]


def test_a_redelivered_message_is_delivered_once(
    server: CloudflareServer, queue: Queue, poller: QueuePoller, ledger: Ledger
) -> None:
    server.send(r2_record("a.zip"))
    server.send(r2_record("a.zip"))
    poller.poll_once("exports", queue)
    assert delivered(ledger) == ["a.zip"]


def test_unreadable_messages_are_stored_and_acknowledged(
    server: CloudflareServer, queue: Queue, poller: QueuePoller, ledger: Ledger
) -> None:
    server.messages += [Waiting("AAEC"), Waiting("no JSON"), Waiting(None), Waiting(7)]
    assert poller.poll_once("exports", queue) == 4
    (*notifications,) = ledger.history.notifications(limit=10, cursor=None).items
    assert [item.verdict for item in notifications] == ["unreadable"] * 4
    assert server.messages == []


def test_messages_are_pulled_and_acknowledged_in_batches(
    server: CloudflareServer, queue: Queue, poller: QueuePoller, ledger: Ledger
) -> None:
    for number in range(120):
        server.send(r2_record(f"{number:03d}.zip"))
    assert [poller.poll_once("exports", queue) for _ in range(4)] == [50, 50, 20, 0]
    assert delivered(ledger) == [f"{number:03d}.zip" for number in range(120)]
    assert server.messages == []


def test_more_receipts_than_fit_into_a_call_are_acknowledged_in_several(
    server: CloudflareServer, queue: Queue
) -> None:
    receipts = []
    for number in range(60):
        server.messages.append(Waiting("x", lease=f"lease-{number}"))
        receipts.append(QueueMessage(b"", f"lease-{number}"))
    queue.delete(receipts)
    assert server.messages == []
    assert [len(item.json()["acks"]) for item in server.requests] == [50, 10]


def test_a_message_that_is_not_acknowledged_is_an_error(
    server: CloudflareServer, queue: Queue
) -> None:
    with pytest.raises(TemporaryFailure) as raised:
        queue.delete([QueueMessage(b"", "lease-of-nothing")])
    assert raised.value.code == "queue.not_deleted"


def test_polls_of_an_empty_queue_pause(server: CloudflareServer, queue: Queue) -> None:
    started = time.monotonic()
    assert queue.receive(0.3) == []
    assert time.monotonic() - started >= 0.25
    assert queue.receive(0) == []
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("status", "branch"),
    [
        (400, TemporaryFailure),
        (401, TemporaryFailure),
        (403, PermanentFailure),
        (404, TemporaryFailure),
        (405, PermanentFailure),
        (429, TemporaryFailure),
        (503, TemporaryFailure),
    ],
)
def test_an_error_response_of_the_queue_is_translated(
    server: CloudflareServer, queue: Queue, status: int, branch: type[RelayError]
) -> None:
    refusal = failed(status, 10023, "Queue is not ready\x1b[31m")
    server.respond_with(*[Response(status, refusal.body, {"Retry-After": "9"})] * 2)
    with pytest.raises(branch) as raised:
        queue.receive(0)
    assert "sources.exports.queue_id" in raised.value.message.en
    assert "10023 Queue is not ready" in (raised.value.answer or "")
    assert TOKEN not in str(raised.value)
    assert "\x1b" not in str(raised.value)
    if status in (429, 503):
        assert getattr(raised.value, "retry_after", None) == timedelta(seconds=9)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"\xff",
        b'{"success": false, "errors": []}',
        b'{"success": true, "result": "x"}',
        b'{"success": true, "result": {"messages": "x"}}',
    ],
)
def test_a_malformed_response_is_a_temporary_failure(
    server: CloudflareServer, queue: Queue, body: bytes
) -> None:
    server.respond_with(Response(200, body))
    with pytest.raises(TemporaryFailure) as raised:
        queue.receive(0)
    assert raised.value.code == "storage.not_understood"


@pytest.mark.parametrize("result", ["null", '{"messages": null}', '{"messages": [7, null]}', "[]"])
def test_a_response_without_messages_is_an_empty_queue(
    server: CloudflareServer, queue: Queue, result: str
) -> None:
    server.respond_with(Response(200, f'{{"success": true, "result": {result}}}'.encode()))
    assert queue.receive(0) == []


def test_an_unreachable_api_is_a_temporary_failure(server: CloudflareServer) -> None:
    with closing(make_handler(server, api_url="http://127.0.0.1:1")) as handler:
        queue = handler.queue()
        assert queue is not None
        with closing(queue), pytest.raises(TemporaryFailure):
            queue.receive(0)


class TestReady:
    def test_the_queue_is_checked_without_taking_a_message(
        self, server: CloudflareServer, handler: Handler
    ) -> None:
        server.send(r2_record("a.zip"))
        assert handler.ready() == "the queue exists"
        assert [item.method for item in server.requests] == ["GET"]
        assert server.messages[0].attempts == 0

    def test_a_rejected_token_is_an_error(self, server: CloudflareServer) -> None:
        with (
            closing(make_handler(server, queue_token="another")) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            handler.ready()
        assert raised.value.code == "storage.denied"

    def test_a_missing_queue_is_an_error(self, server: CloudflareServer) -> None:
        with (
            closing(make_handler(server, queue_id="other")) as handler,
            pytest.raises(TemporaryFailure) as raised,
        ):
            handler.ready()
        assert raised.value.code == "storage.no_bucket"


def test_queue_is_none_without_the_setting(server: CloudflareServer) -> None:
    with closing(make_handler(server, queue_id=None, queue_token=None)) as handler:
        assert handler.queue() is None


def test_an_sqs_queue_also_works(server: CloudflareServer) -> None:
    """A custom Worker can forward to SQS."""
    keys = {"queue_id": None, "queue_token": None, "sqs_queue_url": "http://127.0.0.1:9/1/q"}
    with closing(make_handler(server, **keys)) as handler:
        queue = handler.queue()
        assert isinstance(queue, SqsQueue)
        queue.close()


def test_the_token_is_in_no_log(
    server: CloudflareServer, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        server.send(r2_record("a.zip"))
        queue.delete(queue.receive(0))
    assert TOKEN not in caplog.text
