"""What the worker tells a channel: recoveries in their thread, digests, and quiet nights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from relay.channels.contract import Posted
from relay.channels.webhook.channel import WebhookSettings
from relay.config.load import ChannelSettings, DeliverySettings, Settings
from relay.delivery.deliver import Deliverer
from relay.delivery.metrics import ProcessMetrics
from relay.delivery.wake_signal import WakeSignal
from relay.delivery.worker import Worker
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.ledger import DeliveryQuery, NewNotification, RoutedEvent
from relay.ledger.errors import unavailable
from relay.model import Event, Incoming, Kind, NewDelivery, ObjectRef, State, Succeeded, Verdict
from relay.plugins import Plugins
from tests.delivery.test_worker import ZIP, Shelf

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


class Chat:
    """A chat that keeps what it is told, and has threads."""

    settings = ChannelSettings(kind="chat")

    def __init__(self):
        self.posted = []
        self.error = None

    def post(self, message):
        if self.error:
            raise self.error
        self.posted.append(message)
        return Posted("ok", f"C1:{len(self.posted)}")

    def close(self):
        pass


class World:
    """A ledger, a storage, a target, a chat called ops, and a worker whose clock we turn."""

    def __init__(self, ledger, **channel):
        self.ledger = ledger
        self.now = NOW
        self.shelf = Shelf()
        self.chat = Chat()
        self.wake_signal = WakeSignal()
        settings = Settings(
            public_url="https://relay.example.com",
            targets={"prod": self.shelf.settings},
            channels={"ops": ChannelSettings(kind="chat", **channel)},
            delivery=DeliverySettings(),
        )
        plugins = Plugins({"s": self.shelf}, {"prod": self.shelf}, {"ops": self.chat}, ())
        self.worker = Worker(
            settings,
            ledger,
            Deliverer(ledger, plugins),
            clock=lambda: self.now,
            wake_signal=self.wake_signal,
            metrics=ProcessMetrics(),
        )

    def upload(self, key="a.zip"):
        """An object comes, again if it was there; the id of its delivery."""
        ref = ObjectRef("b", key, etag="e1", size=len(ZIP))
        event = Event(ref, f"v:{key}:{self.now}", "Put", self.now)
        options = {"func_name": "{stem}", "package": "default"}
        new = NewDelivery("r", "prod", options, ("ops",))
        incoming = Incoming("s", b"{}", self.now)
        notification = NewNotification(incoming, Verdict.ACCEPTED, None, ("bare",))
        return self.ledger.intake.accept(
            notification, [RoutedEvent(event, (new,))], self.now
        ).deliveries[0]

    def work(self):
        """Everything that is due now."""
        for kind in Kind:
            while claim := self.worker.claim(kind):
                self.worker.run(claim)

    def fail(self, key="a.zip"):
        self.shelf.error = PermanentFailure("archive.broken", "broken", "mend it")
        id_ = self.upload(key)
        self.work()
        self.shelf.error = None
        self.now += timedelta(minutes=5)
        return id_

    def messages(self, **query):
        return self.ledger.history.deliveries(
            DeliveryQuery(kind=Kind.MESSAGE, limit=200, **query)
        ).items

    def told(self):
        return [one for message in self.chat.posted for one in told_in(message)]


def told_in(message):
    if message.type == "digest":
        return [one["delivery"] for one in message.body["deliveries"]]
    return [message.body["delivery"]]


@pytest.fixture
def world(ledger):
    return World(ledger)


class TestRecovery:
    def test_a_failed_delivery_that_is_retriggered_and_succeeds_is_told_as_recovered(self, world):
        id_ = world.fail()
        world.ledger.retriggers.retrigger(id_, world.now)
        world.work()
        failure, recovery = world.chat.posted
        assert (failure.type, recovery.type) == ("import.failed", "import.succeeded")
        assert recovery.body["recovered"] == {
            "failed_at": "2026-11-24T03:00:00+00:00",
            "message": failure.id,
        }
        assert (failure.thread, recovery.thread) == (None, "C1:1")

    def test_so_is_a_mended_zip_under_the_same_key(self, world):
        world.fail()
        world.upload()
        world.work()
        assert world.chat.posted[1].body["recovered"]["message"] == world.chat.posted[0].id
        assert world.chat.posted[1].thread == "C1:1"

    def test_the_success_after_that_is_a_success_like_any(self, world):
        world.fail()
        for _ in range(2):
            world.upload()
            world.work()
            world.now += timedelta(minutes=5)
        assert [bool(one.body["recovered"]) for one in world.chat.posted] == [False, True, False]
        assert world.chat.posted[2].thread is None

    def test_who_wants_failures_only_hears_of_their_end(self, ledger):
        world = World(ledger, on=("failed",))
        world.fail()
        for _ in range(2):
            world.upload()
            world.work()
        assert [one.type for one in world.chat.posted] == ["import.failed", "import.succeeded"]

    def test_a_failure_that_was_told_in_a_digest_has_its_thread_too(self, ledger):
        world = World(ledger, burst=2)
        world.chat.error = PermanentFailure("chat.no", "no")
        world.shelf.error = PermanentFailure("archive.broken", "broken")
        for key in ("a.zip", "b.zip", "c.zip"):
            world.upload(key)
        while claim := world.worker.claim(Kind.IMPORT):
            world.worker.run(claim)
        world.chat.error = world.shelf.error = None
        world.work()
        assert [one.type for one in world.chat.posted] == ["digest"]
        world.now += timedelta(minutes=5)
        world.upload("b.zip")
        world.work()
        assert world.chat.posted[1].body["recovered"]
        assert world.chat.posted[1].thread == "C1:1"

    def test_a_recovery_before_the_failure_could_be_told_has_no_thread(self, world):
        world.chat.error = TemporaryFailure("chat.down", "down")
        world.fail()
        world.upload()
        while claim := world.worker.claim(Kind.IMPORT):
            world.worker.run(claim)
        world.chat.error = None
        [recovery] = [one for one in world.messages() if one.message["body"]["recovered"]]
        claim = world.worker.claim(Kind.MESSAGE, only=recovery.id)
        assert isinstance(world.worker.run(claim), Succeeded)
        assert world.chat.posted[0].thread is None


class TestDigests:
    def test_what_the_chat_gets_is_one_digest_with_a_page_of_its_own(self, world):
        ids = [world.upload(f"{number}.zip") for number in range(12)]
        world.work()
        [digest] = world.chat.posted
        assert sorted(told_in(digest)) == sorted(ids)
        page = f"https://relay.example.com/deliveries/{digest.id}"
        assert digest.body["links"] == {"deliveries": page}
        assert world.ledger.history.delivery(digest.id).state == State.SUCCEEDED

    @pytest.mark.parametrize(
        "error",
        [
            Throttled("chat.429", "too many", retry_after=timedelta(seconds=30)),
            TemporaryFailure("chat.500", "broken"),
            TemporaryFailure("outbound.timeout", "no answer"),
        ],
        ids=["429", "500", "time-out"],
    )
    def test_a_chat_that_is_down_for_an_hour_holds_no_import_up_and_is_then_told_all(
        self, world, error
    ):
        world.chat.error = error
        ids = []
        for step in range(12):
            new = [world.upload(f"{step}-{number}.zip") for number in range(2)]
            world.work()
            assert {world.ledger.history.delivery(one).state for one in new} == {State.SUCCEEDED}
            ids += new
            world.now += timedelta(minutes=5)
        world.chat.error = None
        for _ in range(10):
            world.work()
            world.now += timedelta(seconds=30)
        assert sorted(world.told()) == sorted(ids)
        assert len(world.chat.posted) <= 10

    def test_a_message_that_waits_is_no_attempt_and_no_warning(self, ledger, caplog):
        world = World(ledger, quiet_hours="02:00-07:00")
        world.upload()
        world.work()
        assert world.chat.posted == []
        [message] = world.messages()
        assert (message.state, message.attempts) == (State.PENDING, 0)
        assert message.due == datetime(2026, 11, 24, 7, tzinfo=UTC)
        assert ledger.history.attempts(message.id) == []
        assert [one.levelname for one in caplog.records if one.levelno > 20] == []
        world.now = message.due
        world.work()
        assert len(world.chat.posted) == 1

    def test_a_ledger_that_is_away_is_asked_again_before_anything_is_posted(
        self, world, ledger, monkeypatch
    ):
        asked, refused = ledger.batching.decide_post, iter(range(2))

        def away(*arguments):
            if next(refused, None) is not None:
                raise unavailable("unavailable", "connection refused", "connection refused")
            return asked(*arguments)

        monkeypatch.setattr(ledger.batching, "decide_post", away)
        monkeypatch.setattr("relay.delivery.worker.POLL", 0.01)
        world.upload()
        world.work()
        assert len(world.chat.posted) == 1
        [message] = world.messages()
        assert message.attempts == 1


def test_what_machines_read_is_never_a_digest():
    assert WebhookSettings(kind="webhook", url="https://x.example").burst == 0
