"""From an upload to its bytes by way of Pub/Sub and of an Azure Storage queue, over real HTTP."""

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
from relay.model import Event, Incoming, ObjectRef, utc_now
from relay.model import Origin as Way
from relay.sources.contract import Queue, QueueMessage, StorageHandler
from relay.sources.envelopes import ENVELOPES
from relay.sources.rest import LARGEST
from relay.testing.handler_suite import HandlerSuite, read
from tests.handlers.azure_server import SAS, AzureServer
from tests.handlers.gcs_server import GcsServer
from tests.handlers.rest_server import Answer

SUBSCRIPTION = "projects/p-1/subscriptions/s-1"


@dataclass
class Road:
    """A stand-in, a handler that pulls from it, and what happens at an upload."""

    server: Any
    handler: StorageHandler
    upload: Callable[[str, bytes], None]
    held: Callable[[], int]

    def queue(self) -> Queue:
        queue = self.handler.queue()
        assert queue is not None
        return queue


def gcs(server: GcsServer) -> Road:
    keys = {"endpoint_url": server.url, "pubsub_url": server.url, "subscription": SUBSCRIPTION}
    settings = Gcs.Settings.model_validate({"kind": "gcs", "anonymous": True, **keys})
    server.hold = 0

    def upload(key: str, body: bytes) -> None:
        server.announce("exports", key, server.put("exports", key, body))

    return Road(
        server,
        Gcs("exports", settings),
        upload,
        lambda: len(server.waiting) + len(server.leased),
    )


def azure(server: AzureServer) -> Road:
    keys = {"endpoint_url": server.blobs, "queue_url": f"{server.url}/news"}
    settings = Azure.Settings.model_validate({"kind": "azure", "sas_token": SAS, **keys})

    def upload(key: str, body: bytes) -> None:
        server.announce("exports", key, server.put("exports", key, body))

    return Road(server, Azure("exports", settings), upload, lambda: len(server.queue))


@pytest.fixture(params=["gcs", "azure"])
def road(request: pytest.FixtureRequest) -> Iterator[Road]:
    if request.param == "gcs":
        with GcsServer() as server, closing((road := gcs(server)).handler):
            yield road
    else:
        with AzureServer() as server, closing((road := azure(server)).handler):
            yield road


@pytest.fixture
def gcs_road() -> Iterator[Road]:
    with GcsServer() as server, closing((road := gcs(server)).handler):
        yield road


@pytest.fixture
def azure_road() -> Iterator[Road]:
    with AzureServer() as server, closing((road := azure(server)).handler):
        yield road


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Ledger]:
    store = Ledger.open(f"sqlite:///{tmp_path}/relay.db")
    store.administration.migrate()
    yield store
    store.close()


@pytest.fixture
def puller(road: Road, store: Ledger) -> QueuePoller:
    settings = Settings(
        sources={"exports": road.handler.settings},
        targets={"prod": TargetSettings(kind="shelf")},
        routes=(Route(source="exports", target="prod"),),
    )
    intake = Intake(settings, store, {"exports": road.handler}, clock=utc_now)
    puller = QueuePoller(intake, clock=utc_now)
    puller.wait = 0.2
    return puller


def delivered(store: Ledger) -> set[str]:
    return {one.key for one in store.history.deliveries(DeliveryQuery()).items}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def events_of(road: Road, messages: list[QueueMessage]) -> list[Event]:
    bare = ENVELOPES["bare"](road.handler.settings)
    return [
        event
        for message in messages
        for record in bare.unwrap(Incoming("exports", message.body, utc_now(), Way.QUEUE))
        for event in road.handler.parse(record)
    ]


def test_every_odd_key_comes_from_upload_to_bytes(road: Road) -> None:
    keys = [key for key in HandlerSuite.odd_keys if ".." not in key and "\\" not in key]
    for key in keys:
        road.upload(key, key.encode())
    with closing(road.queue()) as queue:
        messages = queue.receive(0)
        events = events_of(road, messages)
        queue.delete(messages)
    assert [event.object.key for event in events] == keys
    for event in events:
        assert event.object.version or event.object.etag, "nothing pins the bytes"
        assert read(road.handler, event.object) == event.object.key.encode()
    assert road.held() == 0


def test_messages_are_deleted_after_they_were_stored(
    road: Road, puller: QueuePoller, store: Ledger
) -> None:
    road.upload("a.zip", b"x")
    with closing(road.queue()) as queue:
        assert puller.poll_once("exports", queue) == 1
    assert delivered(store) == {"a.zip"}
    assert road.held() == 0


def test_what_could_not_be_stored_is_not_deleted(
    road: Road, puller: QueuePoller, store: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Incoming) -> None:
        raise LedgerUnavailable("store.unavailable", "The disk is full")

    road.upload("a.zip", b"x")
    with closing(road.queue()) as queue:
        with monkeypatch.context() as patched:
            patched.setattr(puller.intake, "accept_queued", full)
            with pytest.raises(LedgerUnavailable):
                puller.poll_once("exports", queue)
        assert road.held() == 1
        comes_again_at_once(road)
        assert puller.poll_once("exports", queue) == 1
    assert delivered(store) == {"a.zip"}
    assert road.held() == 0


def comes_again_at_once(road: Road) -> None:
    """As after its deadline, or the time for which it is hidden."""
    if isinstance(road.server, GcsServer):
        road.server.waiting += [one for _, one in road.server.leased.values()]
        road.server.leased.clear()
    for message in getattr(road.server, "queue", ()):
        message.visible = 0.0


def test_the_same_upload_told_twice_is_delivered_once(
    road: Road, puller: QueuePoller, store: Ledger
) -> None:
    road.upload("a.zip", b"x")
    with closing(road.queue()) as queue:
        messages = queue.receive(0)
        comes_again_at_once(road)
        again = queue.receive(0)
        assert [one.body for one in messages] == [one.body for one in again]
        comes_again_at_once(road)
        puller.poll_once("exports", queue)
        for message in messages:
            puller.intake.accept_queued(Incoming("exports", message.body, utc_now(), Way.QUEUE))
    assert len(store.history.deliveries(DeliveryQuery()).items) == 1


def test_a_puller_drains_the_queue_and_stops_when_asked(
    road: Road, puller: QueuePoller, store: Ledger
) -> None:
    puller.start()
    try:
        for number in range(120):
            road.upload(f"{number}.zip", b"x")
        until(lambda: road.held() == 0)
    finally:
        began = time.monotonic()
        puller.ask_to_stop()
        puller.stop()
    assert time.monotonic() - began < 2
    assert not any(thread.is_alive() for thread in puller._threads)
    page, keys = store.history.deliveries(DeliveryQuery(limit=200)), set()
    keys |= {one.key for one in page.items}
    assert keys == {f"{number}.zip" for number in range(120)}


def test_an_empty_queue_is_not_asked_over_and_over(road: Road) -> None:
    with closing(road.queue()) as queue:
        began = time.monotonic()
        assert queue.receive(0.3) == []
        assert time.monotonic() - began >= 0.25
        assert queue.receive(0) == []
    assert len(road.server.asked) == 2


@pytest.mark.parametrize(
    ("status", "branch"),
    [
        (403, PermanentFailure),
        (400, PermanentFailure),
        (429, TemporaryFailure),
        (503, TemporaryFailure),
    ],
)
def test_a_queue_that_refuses_is_told(road: Road, status: int, branch: type[RelayError]) -> None:
    road.server.fails(Answer(status, b"{}", {"Retry-After": "9"}))
    with closing(road.queue()) as queue, pytest.raises(branch) as raised:
        queue.receive(0)
    assert "sources.exports." in raised.value.message.en
    assert "sig=" not in str(raised.value)
    if isinstance(raised.value, TemporaryFailure):
        assert raised.value.retry_after == timedelta(seconds=9)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"\xff", b"<!DOCTYPE x><x/>", b'{"receivedMessages": [7]}']
)
def test_an_answer_that_is_none_is_a_temporary_failure(road: Road, body: bytes) -> None:
    road.server.fails(Answer(200, body))
    with closing(road.queue()) as queue, pytest.raises(TemporaryFailure) as raised:
        queue.receive(0)
    assert raised.value.code == "storage.not_understood"


class TestPubSub:
    def test_a_message_that_comes_while_we_wait_is_handed_over_at_once(
        self, gcs_road: Road
    ) -> None:
        gcs_road.server.hold = 30
        with closing(gcs_road.queue()) as queue, ThreadPoolExecutor(1) as pool:
            coming = pool.submit(queue.receive, 10)
            until(lambda: len(gcs_road.server.asked) == 1)
            began = time.monotonic()
            gcs_road.upload("a.zip", b"x")
            assert len(coming.result()) == 1
        assert time.monotonic() - began < 5

    def test_a_server_that_waits_longer_than_we_may_is_hung_up_on(self, gcs_road: Road) -> None:
        gcs_road.server.hold = 3
        with closing(gcs_road.queue()) as queue:
            began = time.monotonic()
            assert queue.receive(1) == []
            assert time.monotonic() - began < 2.5
            gcs_road.server.hold = 0
            gcs_road.upload("a.zip", b"x")
            comes = []
            until(
                lambda: bool(
                    comes.extend(queue.receive(0)) or comes_again_at_once(gcs_road) or comes
                )
            )
        assert events_of(gcs_road, comes[:1])[0].object.key == "a.zip"

    def test_a_subscription_that_is_not_there_is_told(self, gcs_road: Road) -> None:
        gcs_road.server.fails(Answer(404, b'{"error": {"status": "NOT_FOUND"}}'))
        with closing(gcs_road.queue()) as queue, pytest.raises(PermanentFailure) as raised:
            queue.receive(0)
        assert raised.value.code == "storage.no_bucket"
        assert "NOT_FOUND" in (raised.value.answer or "")

    def test_messages_too_many_to_be_read_at_once_come_one_by_one(self, gcs_road: Road) -> None:
        server = gcs_road.server
        server.publish({"attributes": {}, "data": "A" * (LARGEST // 2)})
        server.publish({"attributes": {}, "data": "A" * (LARGEST // 2)})
        got = []
        with closing(gcs_road.queue()) as queue:
            assert queue.receive(0) == []
            comes_again_at_once(gcs_road)
            while messages := queue.receive(0):
                got += messages
                queue.delete(messages)
                server.asked.clear()
                comes_again_at_once(gcs_road)
        assert [len(message.body) for message in got] == [1024 * 1024] * 2

    def test_the_machines_token_is_good_for_storage_and_queue(self) -> None:
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
            (token,) = [one for one in server.asked if one.path.startswith("/computeMetadata")]
            assert token.query["scopes"].endswith("/auth/pubsub")


class TestStorageQueue:
    @pytest.mark.parametrize("encoded", [True, False])
    def test_a_body_comes_in_base64_or_as_it_is(self, azure_road: Road, encoded: bool) -> None:
        azure_road.server.send('{"a": "<键>&"}', encoded=encoded)
        with closing(azure_road.queue()) as queue:
            (message,) = queue.receive(0)
        assert json.loads(message.body) == {"a": "<键>&"}

    def test_a_body_that_is_neither_is_still_handed_over(self, azure_road: Road) -> None:
        azure_road.server.send("你好, not JSON", encoded=False)
        with closing(azure_road.queue()) as queue:
            assert queue.receive(0)[0].body == "你好, not JSON".encode()

    def test_a_message_that_somebody_deleted_is_no_trouble(self, azure_road: Road) -> None:
        azure_road.server.send("{}")
        with closing(azure_road.queue()) as queue:
            messages = queue.receive(0)
            queue.delete(messages)
            queue.delete(messages)

    def test_a_message_that_was_given_out_again_is_told_and_stays(self, azure_road: Road) -> None:
        azure_road.server.send("{}")
        azure_road.server.send("{}")
        with closing(azure_road.queue()) as queue:
            first = queue.receive(0)
            comes_again_at_once(azure_road)
            queue.receive(0)
            with pytest.raises(TemporaryFailure) as raised:
                queue.delete(first)
        assert raised.value.code == "queue.not_deleted"
        assert "2 messages" in raised.value.message.en
        assert azure_road.held() == 2

    def test_a_queue_may_have_a_signature_of_its_own(self) -> None:
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
            assert all(one.target.endswith(SAS) for one in server.asked)

    def test_a_queue_that_is_not_there_is_told(self, azure_road: Road) -> None:
        azure_road.server.fails(Answer(404, b"", {"x-ms-error-code": "QueueNotFound"}))
        with closing(azure_road.queue()) as queue, pytest.raises(PermanentFailure) as raised:
            queue.receive(0)
        assert raised.value.code == "storage.no_bucket"
