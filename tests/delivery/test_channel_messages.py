"""Messages of the worker to a channel: recoveries in threads, digests, and quiet hours."""

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
from relay.model import Event, Incoming, Kind, NewDelivery, ObjectRef, State, Verdict
from relay.plugins import Plugins
from tests.delivery.test_worker import ZIP, FakePlugin

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


class FakeChat:
    """A chat with threads that keeps the posted messages."""

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
    """A ledger, a source, a target, the chat "ops", and a worker; tests set `now`."""

    def __init__(self, ledger, **channel):
        self.ledger = ledger
        self.now = NOW
        self.plugin = FakePlugin()
        self.chat = FakeChat()
        self.wake_signal = WakeSignal()
        settings = Settings(
            public_url="https://relay.example.com",
            targets={"prod": self.plugin.settings},
            channels={"ops": ChannelSettings(kind="chat", **channel)},
            delivery=DeliverySettings(),
        )
        plugins = Plugins({"s": self.plugin}, {"prod": self.plugin}, {"ops": self.chat}, ())
        self.worker = Worker(
            settings,
            ledger,
            Deliverer(ledger, plugins),
            clock=lambda: self.now,
            wake_signal=self.wake_signal,
            metrics=ProcessMetrics(),
        )

    def upload(self, key="a.zip"):
        """Upload an object, possibly again; returns the id of the delivery."""
        ref = ObjectRef("b", key, etag="e1", size=len(ZIP))
        event = Event(ref, f"v:{key}:{self.now}", "Put", self.now)
        options = {"func_name": "{stem}", "package": "default"}
        new = NewDelivery("r", "prod", options, ("ops",))
        incoming = Incoming("s", b"{}", self.now)
        notification = NewNotification(incoming, Verdict.ACCEPTED, None, ("bare",))
        return self.ledger.intake.accept(
            notification, [RoutedEvent(event, (new,))], self.now
        ).deliveries[0]

    def run_due(self):
        """Run everything that is due now."""
        for kind in Kind:
            while claim := self.worker.claim(kind):
                self.worker.run(claim)

    def fail(self, key="a.zip"):
        self.plugin.error = PermanentFailure("archive.broken", "broken", "repair it")
        delivery_id = self.upload(key)
        self.run_due()
        self.plugin.error = None
        self.now += timedelta(minutes=5)
        return delivery_id

    def messages(self, **query):
        return self.ledger.history.deliveries(
            DeliveryQuery(kind=Kind.MESSAGE, limit=200, **query)
        ).items

    def posted_deliveries(self):
        return [id_ for message in self.chat.posted for id_ in deliveries_in(message)]


def deliveries_in(message):
    if message.type == "digest":
        return [item["delivery"] for item in message.body["deliveries"]]
    return [message.body["delivery"]]


@pytest.fixture
def world(ledger):
    return World(ledger)


class TestRecovery:
    def test_a_success_after_a_retriggered_failure_is_posted_as_recovered(self, world):
        delivery_id = world.fail()
        world.ledger.retriggers.retrigger(delivery_id, world.now)
        world.run_due()
        failure, recovery = world.chat.posted
        assert (failure.type, recovery.type) == ("import.failed", "import.succeeded")
        assert recovery.body["recovered"] == {
            "failed_at": "2026-11-24T03:00:00+00:00",
            "message": failure.id,
        }
        assert (failure.thread, recovery.thread) == (None, "C1:1")

    def test_a_repaired_zip_under_the_same_key_is_posted_as_recovered(self, world):
        world.fail()
        world.upload()
        world.run_due()
        assert world.chat.posted[1].body["recovered"]["message"] == world.chat.posted[0].id
        assert world.chat.posted[1].thread == "C1:1"

    def test_the_next_success_is_posted_without_a_recovery(self, world):
        world.fail()
        for _ in range(2):
            world.upload()
            world.run_due()
            world.now += timedelta(minutes=5)
        assert [bool(message.body["recovered"]) for message in world.chat.posted] == [
            False,
            True,
            False,
        ]
        assert world.chat.posted[2].thread is None

    def test_a_channel_for_failures_only_also_gets_the_recovery(self, ledger):
        world = World(ledger, on=("failed",))
        world.fail()
        for _ in range(2):
            world.upload()
            world.run_due()
        assert [message.type for message in world.chat.posted] == [
            "import.failed",
            "import.succeeded",
        ]

    def test_the_recovery_from_a_failure_in_a_digest_joins_the_thread_of_the_digest(self, ledger):
        world = World(ledger, burst=2)
        world.chat.error = PermanentFailure("chat.no", "no")
        world.plugin.error = PermanentFailure("archive.broken", "broken")
        for key in ("a.zip", "b.zip", "c.zip"):
            world.upload(key)
        while claim := world.worker.claim(Kind.IMPORT):
            world.worker.run(claim)
        world.chat.error = world.plugin.error = None
        world.run_due()
        assert [message.type for message in world.chat.posted] == ["digest"]
        world.now += timedelta(minutes=5)
        world.upload("b.zip")
        world.run_due()
        assert world.chat.posted[1].body["recovered"]
        assert world.chat.posted[1].thread == "C1:1"

    def test_a_failure_that_was_never_posted_is_not_recovered_from(self, world):
        world.chat.error = TemporaryFailure("chat.down", "down")
        world.fail()
        world.upload()
        world.run_due()
        world.chat.error = None
        world.now += timedelta(hours=1)
        world.run_due()
        [message] = world.chat.posted
        assert (message.type, message.body["recovered"]) == ("import.succeeded", None)
        [failure] = world.messages(state=State.SKIPPED)
        assert (failure.reason, failure.result["replaced_by"]) == ("superseded", message.id)

    def test_a_channel_for_failures_only_gets_nothing_about_a_failure_that_is_over(self, ledger):
        world = World(ledger, on=("failed",))
        world.chat.error = TemporaryFailure("chat.down", "down")
        world.fail()
        world.upload()
        world.run_due()
        world.chat.error = None
        world.now += timedelta(hours=1)
        world.run_due()
        assert world.chat.posted == []
        assert [message.state for message in world.messages()] == [State.SKIPPED]


class TestDigests:
    def test_many_messages_become_a_single_digest_with_a_page(self, world):
        ids = [world.upload(f"{number}.zip") for number in range(12)]
        world.run_due()
        [digest] = world.chat.posted
        assert sorted(deliveries_in(digest)) == sorted(ids)
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
    def test_a_chat_outage_of_an_hour_delays_no_import_and_loses_no_message(self, world, error):
        world.chat.error = error
        ids = []
        for step in range(12):
            new = [world.upload(f"{step}-{number}.zip") for number in range(2)]
            world.run_due()
            assert {world.ledger.history.delivery(id_).state for id_ in new} == {State.SUCCEEDED}
            ids += new
            world.now += timedelta(minutes=5)
        world.chat.error = None
        for _ in range(10):
            world.run_due()
            world.now += timedelta(seconds=30)
        assert sorted(world.posted_deliveries()) == sorted(ids)
        assert len(world.chat.posted) <= 10

    def test_a_postponed_message_counts_as_no_attempt_and_logs_no_warning(self, ledger, caplog):
        world = World(ledger, quiet_hours="02:00-07:00")
        world.upload()
        world.run_due()
        assert world.chat.posted == []
        [message] = world.messages()
        assert (message.state, message.attempts) == (State.PENDING, 0)
        assert message.due == datetime(2026, 11, 24, 7, tzinfo=UTC)
        assert ledger.history.attempts(message.id) == []
        assert [record.levelname for record in caplog.records if record.levelno > 20] == []
        world.now = message.due
        world.run_due()
        assert len(world.chat.posted) == 1

    def test_nothing_is_posted_while_the_database_is_unavailable(self, world, ledger, monkeypatch):
        decide_post, failures = ledger.batching.decide_post, iter(range(2))

        def unavailable_twice(*arguments):
            if next(failures, None) is not None:
                raise unavailable("unavailable", "connection refused", "connection refused")
            return decide_post(*arguments)

        monkeypatch.setattr(ledger.batching, "decide_post", unavailable_twice)
        monkeypatch.setattr("relay.delivery.worker.POLL", 0.01)
        world.upload()
        world.run_due()
        assert len(world.chat.posted) == 1
        [message] = world.messages()
        assert message.attempts == 1


def test_the_generic_webhook_gets_no_digests_by_default():
    assert WebhookSettings(kind="webhook", url="https://x.example").burst == 0
