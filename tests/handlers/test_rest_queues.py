"""From upload to read through Pub/Sub and through an Azure Storage queue, over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from relay.config.load import Route, Settings, TargetSettings
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.handlers.azure.handler import Handler as Azure
from relay.handlers.gcs.handler import Handler as Gcs
from relay.intake.intake import Intake
from relay.intake.queue_poller import QueuePoller
from relay.ledger import DeliveryQuery, Ledger
from relay.ledger.errors import LedgerUnavailable
from relay.model import Event, Incoming, ObjectRef, Origin, utc_now
from relay.sources.contract import Queue, QueueMessage, StorageHandler
from relay.sources.envelopes import ENVELOPES
from relay.sources.rest import LARGEST
from relay.testing.handler_suite import HandlerSuite, read
from tests.handlers.azure_server import SAS, AzureServer
from tests.handlers.gcs_server import GcsServer
from tests.handlers.rest_server import Response

SUBSCRIPTION = "projects/p-1/subscriptions/s-1"


@dataclass
class Transport:
    """A fake server, a handler that polls it, and a function that uploads."""

    server: Any
    handler: StorageHandler
    upload: Callable[[str, bytes], None]
    count_messages: Callable[[], int]

    def queue(self) -> Queue:
        queue = self.handler.queue()
        assert queue is not None
        return queue


def gcs(server: GcsServer) -> Transport:
    keys = {"endpoint_url": server.url, "pubsub_url": server.url, "subscription": SUBSCRIPTION}
    settings = Gcs.Settings.model_validate({"kind": "gcs", "anonymous": True, **keys})
    server.hold = 0

    def upload(key: str, body: bytes) -> None:
        server.announce("exports", key, server.put("exports", key, body))

    return Transport(
        server,
        Gcs("exports", settings),
        upload,
        lambda: len(server.waiting) + len(server.leased),
    )


def azure(server: AzureServer) -> Transport:
    keys = {"endpoint_url": server.blobs, "queue_url": f"{server.url}/news"}
    settings = Azure.Settings.model_validate({"kind": "azure", "sas_token": SAS, **keys})

    def upload(key: str, body: bytes) -> None:
        server.announce("exports", key, server.put("exports", key, body))

    return Transport(server, Azure("exports", settings), upload, lambda: len(server.queue))


@pytest.fixture(params=["gcs", "azure"])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    if request.param == "gcs":
        with GcsServer() as server, closing((transport := gcs(server)).handler):
            yield transport
    else:
        with AzureServer() as server, closing((transport := azure(server)).handler):
            yield transport


@pytest.fixture
def gcs_transport() -> Iterator[Transport]:
    with GcsServer() as server, closing((transport := gcs(server)).handler):
        yield transport


@pytest.fixture
def azure_transport() -> Iterator[Transport]:
    with AzureServer() as server, closing((transport := azure(server)).handler):
        yield transport


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/relay.db")
    ledger.administration.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def poller(transport: Transport, ledger: Ledger) -> QueuePoller:
    settings = Settings(
        sources={"exports": transport.handler.settings},
        targets={"prod": TargetSettings(kind="shelf")},
        routes=(Route(source="exports", target="prod"),),
    )
    intake = Intake(
        settings, ledger.intake, ledger.history, {"exports": transport.handler}, clock=utc_now
    )
    poller = QueuePoller(intake, ledger.scans, clock=utc_now)
    poller.wait = 0.2
    return poller


def delivered(ledger: Ledger) -> set[str]:
    return {item.key for item in ledger.history.deliveries(DeliveryQuery()).items}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)


def events_of(transport: Transport, messages: list[QueueMessage]) -> list[Event]:
    bare = ENVELOPES["bare"](transport.handler.settings)
    return [
        event
        for message in messages
        for record in bare.unwrap(Incoming("exports", message.body, utc_now(), Origin.QUEUE))
        for event in transport.handler.parse(record)
    ]


def test_every_odd_key_is_announced_and_read(transport: Transport) -> None:
    keys = [key for key in HandlerSuite.odd_keys if ".." not in key and "\\" not in key]
    for key in keys:
        transport.upload(key, key.encode())
    with closing(transport.queue()) as queue:
        messages = queue.receive(0)
        events = events_of(transport, messages)
        queue.delete(messages)
    assert [event.object.key for event in events] == keys
    for event in events:
        assert event.object.version or event.object.etag, "nothing pins the bytes"
        assert read(transport.handler, event.object) == event.object.key.encode()
    assert transport.count_messages() == 0


def test_messages_are_deleted_after_storing(
    transport: Transport, poller: QueuePoller, ledger: Ledger
) -> None:
    transport.upload("a.zip", b"x")
    with closing(transport.queue()) as queue:
        assert poller.poll_once("exports", queue) == 1
    assert delivered(ledger) == {"a.zip"}
    assert transport.count_messages() == 0


def test_messages_that_were_not_stored_are_not_deleted(
    transport: Transport, poller: QueuePoller, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Incoming) -> None:
        raise LedgerUnavailable("store.unavailable", "The disk is full")

    transport.upload("a.zip", b"x")
    with closing(transport.queue()) as queue:
        with monkeypatch.context() as patched:
            patched.setattr(poller.intake, "accept_queued", full)
            with pytest.raises(LedgerUnavailable):
                poller.poll_once("exports", queue)
        assert transport.count_messages() == 1
        redeliver(transport)
        assert poller.poll_once("exports", queue) == 1
    assert delivered(ledger) == {"a.zip"}
    assert transport.count_messages() == 0


def redeliver(transport: Transport) -> None:
    """Simulate the end of the ack deadline or visibility timeout."""
    if isinstance(transport.server, GcsServer):
        transport.server.waiting += [item for _, item in transport.server.leased.values()]
        transport.server.leased.clear()
    for message in getattr(transport.server, "queue", ()):
        message.visible = 0.0


def test_an_upload_announced_twice_is_delivered_once(
    transport: Transport, poller: QueuePoller, ledger: Ledger
) -> None:
    transport.upload("a.zip", b"x")
    with closing(transport.queue()) as queue:
        messages = queue.receive(0)
        redeliver(transport)
        again = queue.receive(0)
        assert [item.body for item in messages] == [item.body for item in again]
        redeliver(transport)
        poller.poll_once("exports", queue)
        for message in messages:
            poller.intake.accept_queued(Incoming("exports", message.body, utc_now(), Origin.QUEUE))
    assert len(ledger.history.deliveries(DeliveryQuery()).items) == 1


def test_a_poller_drains_the_queue_and_stops_on_request(
    transport: Transport, poller: QueuePoller, ledger: Ledger
) -> None:
    poller.start()
    try:
        for number in range(120):
            transport.upload(f"{number}.zip", b"x")
        until(lambda: transport.count_messages() == 0)
    finally:
        started = time.monotonic()
        poller.ask_to_stop()
        poller.stop()
    assert time.monotonic() - started < 2
    assert not any(thread.is_alive() for thread in poller._threads)
    page, keys = ledger.history.deliveries(DeliveryQuery(limit=200)), set()
    keys |= {item.key for item in page.items}
    assert keys == {f"{number}.zip" for number in range(120)}


def test_polls_of_an_empty_queue_pause(transport: Transport) -> None:
    with closing(transport.queue()) as queue:
        started = time.monotonic()
        assert queue.receive(0.3) == []
        assert time.monotonic() - started >= 0.25
        assert queue.receive(0) == []
    assert len(transport.server.requests) == 2


@pytest.mark.parametrize(
    ("status", "branch"),
    [
        (403, PermanentFailure),
        (400, PermanentFailure),
        (429, TemporaryFailure),
        (503, TemporaryFailure),
    ],
)
def test_an_error_response_of_the_queue_is_translated(
    transport: Transport, status: int, branch: type[RelayError]
) -> None:
    transport.server.respond_with(Response(status, b"{}", {"Retry-After": "9"}))
    with closing(transport.queue()) as queue, pytest.raises(branch) as raised:
        queue.receive(0)
    assert "sources.exports." in raised.value.message.en
    assert "sig=" not in str(raised.value)
    if isinstance(raised.value, TemporaryFailure):
        assert raised.value.retry_after == timedelta(seconds=9)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"\xff", b"<!DOCTYPE x><x/>", b'{"receivedMessages": [7]}']
)
def test_a_malformed_response_is_a_temporary_failure(transport: Transport, body: bytes) -> None:
    transport.server.respond_with(Response(200, body))
    with closing(transport.queue()) as queue, pytest.raises(TemporaryFailure) as raised:
        queue.receive(0)
    assert raised.value.code == "storage.not_understood"


class TestPubSub:
    def test_a_message_that_arrives_during_the_wait_is_returned_at_once(
        self, gcs_transport: Transport
    ) -> None:
        gcs_transport.server.hold = 30
        with closing(gcs_transport.queue()) as queue, ThreadPoolExecutor(1) as pool:
            pending = pool.submit(queue.receive, 10)
            until(lambda: len(gcs_transport.server.requests) == 1)
            started = time.monotonic()
            gcs_transport.upload("a.zip", b"x")
            assert len(pending.result()) == 1
        assert time.monotonic() - started < 5

    def test_long_polling_beyond_the_wait_is_cut_off(self, gcs_transport: Transport) -> None:
        gcs_transport.server.hold = 3
        with closing(gcs_transport.queue()) as queue:
            started = time.monotonic()
            assert queue.receive(1) == []
            assert time.monotonic() - started < 2.5
            gcs_transport.server.hold = 0
            gcs_transport.upload("a.zip", b"x")
            received = []
            until(
                lambda: bool(
                    received.extend(queue.receive(0)) or redeliver(gcs_transport) or received
                )
            )
        assert events_of(gcs_transport, received[:1])[0].object.key == "a.zip"

    def test_a_missing_subscription_is_an_error(self, gcs_transport: Transport) -> None:
        gcs_transport.server.respond_with(Response(404, b'{"error": {"status": "NOT_FOUND"}}'))
        with closing(gcs_transport.queue()) as queue, pytest.raises(TemporaryFailure) as raised:
            queue.receive(0)
        assert raised.value.code == "storage.no_bucket"
        assert "NOT_FOUND" in (raised.value.answer or "")

    def test_messages_over_the_response_limit_are_pulled_individually(
        self, gcs_transport: Transport
    ) -> None:
        server = gcs_transport.server
        server.publish({"attributes": {}, "data": "A" * (LARGEST // 2)})
        server.publish({"attributes": {}, "data": "A" * (LARGEST // 2)})
        received = []
        with closing(gcs_transport.queue()) as queue:
            assert queue.receive(0) == []
            redeliver(gcs_transport)
            while messages := queue.receive(0):
                received += messages
                queue.delete(messages)
                server.requests.clear()
                redeliver(gcs_transport)
        assert [len(message.body) for message in received] == [1024 * 1024] * 2

    def test_the_token_of_the_machine_has_the_scopes_of_storage_and_queue(self) -> None:
        with GcsServer() as server:
            server.tokens, server.hold = set(), 0
            keys = {"endpoint_url": server.url, "pubsub_url": server.url}
            settings = Gcs.Settings.model_validate(
                {"kind": "gcs", "metadata_url": server.url, "subscription": SUBSCRIPTION, **keys}
            )
            server.announce("exports", "a", server.put("exports", "a", b"x"))
            with closing(Gcs("exports", settings)) as handler:
                queue = handler.queue()
                assert queue is not None
                with closing(queue):
                    assert len(queue.receive(0)) == 1
                assert handler.stat(ObjectRef("exports", "a")).size == 1
            (token,) = [
                item for item in server.requests if item.path.startswith("/computeMetadata")
            ]
            assert token.query["scopes"].endswith("/auth/pubsub")


class TestStorageQueue:
    @pytest.mark.parametrize("encoded", [True, False])
    def test_a_body_is_base64_or_plain_text(
        self, azure_transport: Transport, encoded: bool
    ) -> None:
        azure_transport.server.send('{"a": "<键>&"}', encoded=encoded)
        with closing(azure_transport.queue()) as queue:
            (message,) = queue.receive(0)
        assert json.loads(message.body) == {"a": "<键>&"}

    def test_a_body_that_is_neither_base64_nor_json_is_returned(
        self, azure_transport: Transport
    ) -> None:
        azure_transport.server.send("你好, not JSON", encoded=False)
        with closing(azure_transport.queue()) as queue:
            assert queue.receive(0)[0].body == "你好, not JSON".encode()

    def test_deleting_a_deleted_message_is_not_an_error(self, azure_transport: Transport) -> None:
        azure_transport.server.send("{}")
        with closing(azure_transport.queue()) as queue:
            messages = queue.receive(0)
            queue.delete(messages)
            queue.delete(messages)

    def test_a_redelivered_message_is_not_deleted_by_the_old_receipt(
        self, azure_transport: Transport
    ) -> None:
        azure_transport.server.send("{}")
        azure_transport.server.send("{}")
        with closing(azure_transport.queue()) as queue:
            first = queue.receive(0)
            redeliver(azure_transport)
            queue.receive(0)
            with pytest.raises(TemporaryFailure) as raised:
                queue.delete(first)
        assert raised.value.code == "queue.not_deleted"
        assert "2 messages" in raised.value.message.en
        assert azure_transport.count_messages() == 2

    def test_a_queue_can_have_a_separate_signature(self) -> None:
        with AzureServer() as server:
            server.believes = {"sas"}
            keys = {"queue_url": f"{server.url}/news", "queue_sas_token": SAS, "anonymous": True}
            table = {"kind": "azure", "endpoint_url": server.blobs, **keys}
            server.send("{}")
            with closing(Azure("exports", Azure.Settings.model_validate(table))) as handler:
                queue = handler.queue()
                assert queue is not None
                with closing(queue):
                    queue.delete(queue.receive(0))
            assert server.queue == []
            assert all(item.target.endswith(SAS) for item in server.requests)

    def test_a_missing_queue_is_an_error(self, azure_transport: Transport) -> None:
        azure_transport.server.respond_with(
            Response(404, b"", {"x-ms-error-code": "QueueNotFound"})
        )
        with closing(azure_transport.queue()) as queue, pytest.raises(TemporaryFailure) as raised:
            queue.receive(0)
        assert raised.value.code == "storage.no_bucket"
