"""R2's queue, pulled over HTTP from a server that does as Cloudflare's documents say."""

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
from tests.handlers.rest_server import Answer, Asked, RestServer, as_json
from tests.handlers.s3_family import record_of

TOKEN = "s3cr3t-queue-token"
QUEUE = "/client/v4/accounts/3f4b/queues/9d1c"


@dataclass
class Waiting:
    """A message: its body as the API shows it, and the lease under which it is out."""

    body: Any
    lease: str | None = None
    attempts: int = 0


class CloudflareServer(RestServer):
    """The three calls of the API that a pull consumer makes. `shape`: how a pull's result looks."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Waiting] = []
        self.is_listed = False
        self._leases = itertools.count()

    def send(self, record: Json, how: str = "json") -> None:
        text = json.dumps(record, ensure_ascii=False)
        shown: Any = base64.b64encode(text.encode()).decode()
        self.messages.append(Waiting({"json": shown, "text": text, "object": record}[how]))

    def comes_again(self) -> None:
        """As after the visibility timeout."""
        for message in self.messages:
            message.lease = None

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return failed(403, 10000, "Authentication error")
        if not asked.path.startswith(QUEUE):
            return failed(404, 11000, "queue not found")
        rest = (asked.method, asked.path.removeprefix(QUEUE))
        with self.lock:
            if rest == ("POST", "/messages/pull"):
                return as_json(succeeded(self._pulled(asked.json())))
            if rest == ("POST", "/messages/ack"):
                return as_json(succeeded(self._acknowledged(asked.json())))
        if rest == ("GET", ""):
            return as_json(succeeded({"queue_id": "9d1c", "queue_name": "news"}))
        return failed(405, 10405, "Method not allowed for this authentication scheme")

    def _pulled(self, wanted: Json) -> Any:
        assert 1 <= wanted["batch_size"] <= 100
        assert 1000 <= wanted["visibility_timeout_ms"] <= 12 * 3600 * 1000
        out = [one for one in self.messages if one.lease is None][: wanted["batch_size"]]
        for message in out:
            message.lease, message.attempts = f"lease-{next(self._leases)}", message.attempts + 1
        shown = [
            {
                "body": one.body,
                "id": f"{number:032x}",
                "timestamp_ms": 1689615013586,
                "attempts": one.attempts,
                "metadata": {"CF-Content-Type": "json"},
                "lease_id": one.lease,
            }
            for number, one in enumerate(out)
        ]
        return shown if self.is_listed else {"message_backlog_count": 0, "messages": shown}

    def _acknowledged(self, wanted: Json) -> Json:
        leases = {one["lease_id"] for one in wanted["acks"]}
        before = len(self.messages)
        self.messages = [one for one in self.messages if one.lease not in leases]
        return {"ackCount": before - len(self.messages), "retryCount": 0, "warnings": []}


def succeeded(result: Any) -> Json:
    return {"success": True, "errors": [], "messages": [], "result": result}


def failed(status: int, code: int, message: str) -> Answer:
    errors = [{"code": code, "message": message}]
    told = {"success": False, "errors": errors, "messages": [], "result": None}
    return as_json(told, status)


@pytest.fixture
def server() -> Iterator[CloudflareServer]:
    with CloudflareServer() as server:
        yield server


def made(server: CloudflareServer, **keys: Any) -> Handler:
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
    with closing(made(server)) as handler:
        yield handler


@pytest.fixture
def queue(handler: Handler) -> Iterator[Queue]:
    queue = handler.queue()
    assert queue is not None
    with closing(queue):
        yield queue


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Ledger]:
    store = Ledger.open(f"sqlite:///{tmp_path}/relay.db")
    store.administration.migrate()
    yield store
    store.close()


@pytest.fixture
def puller(handler: Handler, store: Ledger) -> QueuePoller:
    settings = Settings(
        sources={"exports": handler.settings},
        targets={"prod": TargetSettings(kind="shelf")},
        routes=(Route(source="exports", target="prod"),),
    )
    intake = Intake(settings, store, {"exports": handler}, clock=utc_now)
    puller = QueuePoller(intake, clock=utc_now)
    puller.wait = 0.1
    return puller


def told(key: str) -> Json:
    return record_of("r2", "object.key", key)


def delivered(store: Ledger) -> list[str]:
    return sorted(one.key for one in store.history.deliveries(DeliveryQuery(limit=200)).items)


@pytest.mark.parametrize("how", ["json", "text", "object"])
@pytest.mark.parametrize("is_listed", [False, True])
def test_a_message_is_read_in_whatever_form_the_api_shows_it(
    server: CloudflareServer, queue: Queue, how: str, is_listed: bool
) -> None:
    server.is_listed = is_listed
    server.send(told("a+b%2B 导出.zip"), how)
    (message,) = queue.receive(0)
    assert json.loads(message.body) == told("a+b%2B 导出.zip")
    assert message.receipt == server.messages[0].lease


def test_messages_are_acknowledged_after_they_were_stored(
    server: CloudflareServer, queue: Queue, puller: QueuePoller, store: Ledger
) -> None:
    server.send(told("a.zip"))
    server.send(told("b.zip"), "text")
    assert puller.poll_once("exports", queue) == 2
    assert delivered(store) == ["a.zip", "b.zip"]
    assert server.messages == []


def test_what_could_not_be_stored_is_not_acknowledged(
    server: CloudflareServer, queue: Queue, puller: QueuePoller, store: Ledger
) -> None:
    server.send(told("a.zip"))
    accept = puller.intake.accept_queued

    def full(_: Incoming) -> Any:
        raise LedgerUnavailable("store.unavailable", "The disk is full")

    puller.intake.accept_queued = full  # type: ignore[method-assign]
    with pytest.raises(LedgerUnavailable):
        puller.poll_once("exports", queue)
    assert len(server.messages) == 1
    assert [one.path for one in server.asked] == [f"{QUEUE}/messages/pull"]
    puller.intake.accept_queued = accept  # type: ignore[method-assign]
    server.comes_again()
    assert puller.poll_once("exports", queue) == 1
    assert delivered(store) == ["a.zip"]


def test_a_message_that_comes_twice_is_delivered_once(
    server: CloudflareServer, queue: Queue, puller: QueuePoller, store: Ledger
) -> None:
    server.send(told("a.zip"))
    server.send(told("a.zip"))
    puller.poll_once("exports", queue)
    assert delivered(store) == ["a.zip"]


def test_what_cannot_be_understood_is_kept_and_acknowledged(
    server: CloudflareServer, queue: Queue, puller: QueuePoller, store: Ledger
) -> None:
    server.messages += [Waiting("AAEC"), Waiting("no JSON"), Waiting(None), Waiting(7)]
    assert puller.poll_once("exports", queue) == 4
    (*found,) = store.history.notifications(limit=10, cursor=None).items
    assert [one.verdict for one in found] == ["unreadable"] * 4
    assert server.messages == []


def test_many_are_pulled_and_acknowledged_in_batches(
    server: CloudflareServer, queue: Queue, puller: QueuePoller, store: Ledger
) -> None:
    for number in range(120):
        server.send(told(f"{number:03d}.zip"))
    assert [puller.poll_once("exports", queue) for _ in range(4)] == [50, 50, 20, 0]
    assert delivered(store) == [f"{number:03d}.zip" for number in range(120)]
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
    assert [len(one.json()["acks"]) for one in server.asked] == [50, 10]


def test_a_message_that_stays_is_told(server: CloudflareServer, queue: Queue) -> None:
    with pytest.raises(TemporaryFailure) as raised:
        queue.delete([QueueMessage(b"", "lease-of-nothing")])
    assert raised.value.code == "queue.not_deleted"


def test_an_empty_queue_is_not_asked_over_and_over(server: CloudflareServer, queue: Queue) -> None:
    began = time.monotonic()
    assert queue.receive(0.3) == []
    assert time.monotonic() - began >= 0.25
    assert queue.receive(0) == []
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "branch"),
    [
        (400, PermanentFailure),
        (401, PermanentFailure),
        (403, PermanentFailure),
        (404, PermanentFailure),
        (405, PermanentFailure),
        (429, TemporaryFailure),
        (503, TemporaryFailure),
    ],
)
def test_a_queue_that_refuses_is_told(
    server: CloudflareServer, queue: Queue, status: int, branch: type[RelayError]
) -> None:
    refusal = failed(status, 10023, "Queue is not ready\x1b[31m")
    server.fails(*[Answer(status, refusal.body, {"Retry-After": "9"})] * 2)
    with pytest.raises(branch) as raised:
        queue.receive(0)
    assert "sources.exports.queue_id" in raised.value.message.en
    assert "10023 Queue is not ready" in (raised.value.answer or "")
    assert TOKEN not in str(raised.value)
    assert "\x1b" not in str(raised.value)
    if isinstance(raised.value, TemporaryFailure):
        assert raised.value.retry_after == timedelta(seconds=9)


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
def test_an_answer_that_is_none_is_told(
    server: CloudflareServer, queue: Queue, body: bytes
) -> None:
    server.fails(Answer(200, body))
    with pytest.raises(TemporaryFailure) as raised:
        queue.receive(0)
    assert raised.value.code == "storage.not_understood"


@pytest.mark.parametrize("result", ["null", '{"messages": null}', '{"messages": [7, null]}', "[]"])
def test_an_answer_without_messages_is_an_empty_queue(
    server: CloudflareServer, queue: Queue, result: str
) -> None:
    server.fails(Answer(200, f'{{"success": true, "result": {result}}}'.encode()))
    assert queue.receive(0) == []


def test_a_server_that_is_not_there_is_told(server: CloudflareServer) -> None:
    with closing(made(server, api_url="http://127.0.0.1:1")) as handler:
        queue = handler.queue()
        assert queue is not None
        with closing(queue), pytest.raises(TemporaryFailure):
            queue.receive(0)


class TestReady:
    def test_it_asks_for_the_queue_without_taking_a_message(
        self, server: CloudflareServer, handler: Handler
    ) -> None:
        server.send(told("a.zip"))
        assert handler.ready() == "the queue exists"
        assert [one.method for one in server.asked] == ["GET"]
        assert server.messages[0].attempts == 0

    def test_a_token_that_is_not_believed_is_told(self, server: CloudflareServer) -> None:
        with (
            closing(made(server, queue_token="another")) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            handler.ready()
        assert raised.value.code == "storage.denied"

    def test_a_queue_that_is_not_there_is_told(self, server: CloudflareServer) -> None:
        with (
            closing(made(server, queue_id="other")) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            handler.ready()
        assert raised.value.code == "storage.no_bucket"


def test_without_a_queue_there_is_none(server: CloudflareServer) -> None:
    with closing(made(server, queue_id=None, queue_token=None)) as handler:
        assert handler.queue() is None


def test_a_queue_of_sqs_is_one_still(server: CloudflareServer) -> None:
    """Whoever forwards with a Worker of their own may use any."""
    keys = {"queue_id": None, "queue_token": None, "sqs_queue_url": "http://127.0.0.1:9/1/q"}
    with closing(made(server, **keys)) as handler:
        queue = handler.queue()
        assert isinstance(queue, SqsQueue)
        queue.close()


def test_the_token_is_in_no_log(
    server: CloudflareServer, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        server.send(told("a.zip"))
        queue.delete(queue.receive(0))
    assert TOKEN not in caplog.text
