"""Tests of digests and quiet hours: messages are merged or postponed, and none is lost."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from relay.channels.messages import digest_body
from relay.config.load import ChannelSettings
from relay.config.units import RateLimit
from relay.ledger import DeliveryQuery, Ledger, LedgerUnavailable, RetentionPolicy
from relay.ledger.message_order import message_row, store_messages
from relay.ledger.schema import deliveries
from relay.model import Failed, Kind, NewMessage, Retry, State, Succeeded, Trigger

from .plans import statements, steps

CHAT = ChannelSettings(kind="slack", burst=10)
RATE = RateLimit(20, timedelta(minutes=1))
KEPT = RetentionPolicy(timedelta(days=90), 1000, timedelta(days=30))
URL = "https://relay.example.com"
COMPOSE = partial(digest_body, URL)


class ChannelDriver:
    """Creates messages for the channel "ops" and posts them as a worker does.

    `posts`: when each message was posted, under which id, and about which deliveries.
    """

    def __init__(self, driver: Any, channel: ChannelSettings = CHAT) -> None:
        self.driver = driver
        self.channel = channel
        self.made: list[str] = []
        self.imports = 0
        self.posts: list[tuple[datetime, str, list[str]]] = []
        self.error: Retry | Failed | None = None

    @property
    def ledger(self) -> Ledger:
        return self.driver.ledger

    def add_messages(
        self, count: int = 1, result: str = "succeeded", about_key: str = "", **body: Any
    ) -> list[str]:
        """Store messages about different objects. Returns the ids of the reported deliveries."""
        ids = [f"d{len(self.made) + number:05}" for number in range(count)]
        self.made += ids
        error = self.driver.problem.to_json() if result == "failed" else None
        rest = {"recovered": None, "error": error, **body}
        delivery = self.finish_import([])
        with self.ledger._database.write() as connection:
            for id_ in ids:
                new = NewMessage("ops", f"import.{result}", {"delivery": id_, **rest})
                about = replace(delivery, key=about_key or f"{id_}.zip")
                store_messages(self.ledger._database, connection, [new], self.driver.now, about)
        return ids

    def finish_import(self, posted: list[NewMessage]) -> Any:
        self.imports += 1
        key = f"{self.imports:05}.zip"
        delivery = self.driver.deliver_to("prod", key, version=str(self.driver.now))
        claim = self.driver.claimed(kind=Kind.IMPORT, only=delivery.id)
        assert self.driver.finish(claim, messages=posted)
        return delivery

    def add_target_message(self, word: str) -> None:
        """Store a message about the state of the target."""
        new = NewMessage("ops", f"target.{word}", {"target": "prod"})
        row = message_row(new, self.driver.now)
        with self.ledger._database.write() as connection:
            connection.execute(deliveries.insert(), row)

    def claim(self) -> Any:
        return self.driver.claim(kind=Kind.MESSAGE, rates=self.rates)

    @property
    def rates(self) -> Any:
        return {(Kind.MESSAGE, "ops"): self.channel.rate} if self.channel.rate else {}

    def decide(self, claim: Any) -> str:
        return self.ledger.batching.decide_post(claim, self.channel, COMPOSE, self.driver.now)

    def step(self) -> str | None:
        """Claim a message and return the decision, or None if no message is due."""
        claim = self.claim()
        return None if claim is None else self.process(claim)

    def process(self, claim: Any) -> str:
        decision = self.decide(claim)
        if decision == "post":
            self.post(claim)
        return decision

    def post(self, claim: Any) -> None:
        if self.error is not None:
            due = self.driver.now + (getattr(self.error, "after", None) or timedelta(seconds=10))
            assert self.driver.finish(claim, self.error, due=due)
            return
        self.posts.append(
            (self.driver.now, claim.delivery.id, reported_deliveries(claim.delivery.message))
        )
        assert self.driver.finish(claim)

    def drain(self) -> list[str]:
        """Claim all due messages."""
        decisions = []
        while (decision := self.step()) is not None:
            decisions.append(decision)
        return decisions

    def wait(self, seconds: int) -> None:
        """Claim due messages for a number of seconds."""
        for _ in range(seconds // 5):
            self.drain()
            self.driver.later(seconds=5)
        self.drain()

    @property
    def posted(self) -> list[str]:
        return [id_ for _, _, ids in self.posts for id_ in ids]

    def messages(self) -> list[Any]:
        items, cursor = [], None
        while True:
            query = DeliveryQuery(kind=Kind.MESSAGE, limit=200, cursor=cursor)
            page = self.ledger.history.deliveries(query)
            items += page.items
            cursor = page.next_cursor
            if cursor is None:
                return items

    def digests(self) -> list[Any]:
        return [message for message in self.messages() if message.message["type"] == "digest"]


def reported_deliveries(message: Any) -> list[str]:
    if message["type"] == "digest":
        return [delivery["delivery"] for delivery in message["body"]["deliveries"]]
    return [message["body"].get("delivery", message["type"])]


@pytest.fixture
def ops(driver: Any) -> ChannelDriver:
    return ChannelDriver(driver)


def in_quiet_hours(driver: Any, **more: Any) -> ChannelDriver:
    """At 12:00 UTC it is 20:00 in Shanghai: quiet hours until 07:00 there, which is 23:00 UTC."""
    quiet_settings = {"quiet_hours": "19:00-07:00", "timezone": "Asia/Shanghai"}
    return ChannelDriver(
        driver, ChannelSettings(kind="slack", **{**quiet_settings, "burst": 10, **more})
    )


class TestBursts:
    def test_messages_up_to_the_burst_are_posted_separately(self, ops):
        ops.add_messages(10)
        assert ops.drain() == ["post"] * 10
        assert sorted(ops.posted) == sorted(ops.made)

    def test_messages_beyond_the_burst_become_a_digest_with_failures_first(self, ops, driver):
        fine = ops.add_messages(9)
        driver.later(seconds=3)
        broken = ops.add_messages(2, "failed", links={"delivery": "x"})
        skipped = ops.add_messages(1, "skipped")
        assert ops.drain() == ["digest", "post"]
        [made] = ops.digests()
        body = made.message["body"]
        listed = [delivery["delivery"] for delivery in body["deliveries"]]
        assert [sorted(listed[:2]), sorted(listed[2:11]), listed[11:]] == [broken, fine, skipped]
        assert body["results"] == {"failed": 2, "succeeded": 9, "skipped": 1}
        assert (body["count"], body["deliveries"][0]["result"]) == (12, "failed")
        assert body["deliveries"][0]["error"]["code"] == "api.busy"
        assert body["deliveries"][0]["links"] == {"delivery": "x"}
        assert (body["since"], body["until"]) == (
            "2026-05-01T12:00:00+00:00",
            made.message["body"]["until"],
        )
        assert body["links"] == {"deliveries": f"{URL}/deliveries/{made.id}"}
        assert (made.state, made.parent, made.source) == (State.SUCCEEDED, None, "")

    def test_a_message_in_a_digest_is_skipped_and_names_the_digest(self, ops, ledger):
        ops.add_messages(11)
        ops.drain()
        [made] = ops.digests()
        single = [message for message in ops.messages() if message.id != made.id]
        assert {
            (message.state, message.reason, message.result["digest"]) for message in single
        } == {(State.SKIPPED, "digest", made.id)}
        assert all(
            message.finished and message.due is None and not message.error for message in single
        )
        assert all(
            ledger.history.attempts(message.id) == [] and message.attempts == 0
            for message in single
        )
        assert ledger.statistics.counts()[Kind.MESSAGE, State.SKIPPED] == 11

    def test_messages_within_a_minute_after_a_burst_become_a_digest(self, ops, driver):
        ops.add_messages(10)
        ops.drain()
        driver.later(seconds=5)
        ops.add_messages(3)
        assert ops.drain() == ["wait"]
        driver.later(seconds=54)
        assert ops.drain() == []
        driver.later(seconds=1)
        assert ops.drain() == ["post", "post", "post"]

    def test_more_than_ten_per_minute_become_a_digest_every_minute(self, ops, driver):
        for _ in range(5 * 12):
            ops.add_messages()
            ops.drain()
            driver.later(seconds=5)
        ops.wait(90)
        assert sorted(ops.posted) == sorted(ops.made)
        assert len(ops.posts) <= 10 + 5
        assert all(gap >= timedelta(minutes=1) for gap in gaps(ops, digests_only=True))

    def test_ten_in_a_minute_never_become_a_digest(self, ops, driver):
        for _ in range(25):
            ops.add_messages()
            ops.drain()
            driver.later(seconds=6.1)
        assert ops.posted == ops.made
        assert ops.digests() == []

    def test_a_digest_may_contain_a_key_with_unstorable_characters(self, ops):
        ids = ops.add_messages(12, key="prod/a\0b\ud800.zip")
        assert ops.drain() == ["digest", "post"]
        ids += ops.add_messages(2)
        assert ops.drain() == ["wait"]
        ops.wait(120)
        assert sorted(id_ for _, _, ids_posted in ops.posts for id_ in ids_posted) == ids

    def test_nothing_is_posted_for_a_minute_after_a_digest(self, ops, driver):
        ops.add_messages(11)
        ops.drain()
        driver.later(seconds=30)
        ops.add_messages()
        assert ops.drain() == ["wait"]
        driver.later(seconds=29)
        assert ops.drain() == []
        driver.later(seconds=1)
        assert ops.drain() == ["post"]

    def test_five_hundred_messages_in_a_minute_become_a_few_digests_without_loss(self, ops, driver):
        for _ in range(60):
            ops.add_messages(min(9, 500 - len(ops.made)))
            for _ in range(3):
                ops.step()
            driver.later(seconds=1)
        ops.wait(130)
        assert len(ops.made) == 500
        assert sorted(ops.posted) == sorted(ops.made)
        assert len(ops.posts) <= 13

    def test_more_than_a_thousand_messages_become_several_digests_a_minute_apart(
        self, ops, monkeypatch
    ):
        monkeypatch.setattr("relay.ledger.batching.MAX_MESSAGES", 20)
        ops.add_messages(47)
        ops.wait(125)
        assert [len(ids) for _, _, ids in ops.posts] == [20, 20, *[1] * 7]
        assert sorted(ops.posted) == sorted(ops.made)

    def test_a_burst_of_zero_is_never_a_digest(self, driver):
        ops = ChannelDriver(driver, ChannelSettings(kind="webhook", burst=0))
        ops.add_messages(30)
        assert ops.drain() == ["post"] * 30

    def test_other_channels_do_not_count(self, ops, driver):
        ops.finish_import([NewMessage("dev", "import.succeeded", {}) for _ in range(12)])
        ops.add_messages()
        claim = next(
            claim for claim in iter(ops.claim, None) if claim.delivery.destination == "ops"
        )
        assert ops.decide(claim) == "post"

    def test_a_target_that_is_down_is_reported_at_once_and_never_in_a_digest(self, ops, driver):
        ops.add_messages(9)
        ops.add_target_message("down")
        ops.add_messages(9)
        ops.drain()
        [down] = [message for message in ops.messages() if message.message["type"] == "target.down"]
        assert (down.state, down.attempts) == (State.SUCCEEDED, 1)
        assert sorted(len(ids) for _, _, ids in ops.posts) == [1, 18]


def retry_while_unavailable(decide: Any, *arguments: Any, **more: Any) -> Any:
    """Retry, because a busy machine may hold the database for longer than the timeout."""
    while True:
        with suppress(LedgerUnavailable):
            return decide(*arguments, **more)


def gaps(ops: ChannelDriver, *, digests_only: bool = False) -> list[timedelta]:
    moments = [at for at, _, ids in ops.posts if len(ids) > 1 or not digests_only]
    return [later - earlier for earlier, later in pairwise(moments)]


class TestWaiting:
    def test_a_waiting_message_has_a_reason_and_no_attempt(self, ops, driver, ledger):
        ops.add_messages(10)
        ops.drain()
        ops.add_messages()
        claim = ops.claim()
        assert ops.decide(claim) == "wait"
        waiting = driver.read(claim.delivery.id)
        assert (waiting.state, waiting.attempts) == (State.PENDING, 0)
        assert waiting.due == driver.now + timedelta(minutes=1)
        assert waiting.error.code == "message.burst"
        assert "12:01:00 (UTC)" in waiting.error.message.en
        assert ledger.history.attempts(waiting.id) == []

    def test_waiting_never_counts_as_an_attempt(self, driver, ledger):
        ops = in_quiet_hours(driver)
        ops.add_messages()
        for _ in range(30):
            claim = ops.claim()
            assert claim.attempt == 1
            assert ops.decide(claim) == "wait"
            assert ledger.history.attempts(claim.delivery.id) == []
            with ledger._database.write() as connection:
                connection.execute(deliveries.update().values(due=driver.now))

    def test_waiting_does_not_use_up_the_rate(self, driver):
        ops = in_quiet_hours(driver, rate=RATE)
        for _ in range(30):
            ops.add_messages()
            assert ops.drain() == ["wait"]
        ops.add_messages(20, "failed")
        assert ops.drain() == ["digest", "post"]

    def test_waiting_does_not_reset_the_failures_of_the_channel(self, ops, driver, ledger):
        """Only responses of the channel reset the failures."""
        ops.add_messages(10)
        ops.drain()
        ops.error = Retry(driver.problem, destination_failing=True)
        driver.later(minutes=2)
        ops.add_messages(3)
        for _ in range(3):
            ops.step()
        [gate] = ledger.destinations.all()
        assert gate.failures == 3
        driver.later(minutes=2)
        ops.error = None
        ops.channel = in_quiet_hours(driver).channel
        ops.drain()
        [gate] = ledger.destinations.all()
        assert gate.failures == 3

    def test_a_lost_claim_posts_and_changes_nothing(self, ops, driver):
        ops.add_messages(11)
        stale = ops.claim()
        driver.later(seconds=31)
        claim = ops.claim()
        assert claim.delivery.id == stale.delivery.id
        assert ops.decide(stale) == "lost"
        assert ops.digests() == []
        quiet_settings = in_quiet_hours(driver)
        quiet_settings.add_messages(0)
        assert quiet_settings.decide(stale) == "lost"
        assert driver.read(claim.delivery.id).state == State.RUNNING


class TestTrouble:
    def test_single_messages_probe_a_failing_service(self, ops, driver):
        ops.add_messages(1)
        ops.error = Retry(driver.problem, destination_failing=True)
        ops.drain()
        ops.add_messages(50)
        for _ in range(20):
            ops.step()
        assert ops.digests() == []

    @pytest.mark.parametrize("how", ["fails", "asks to wait", "fails and asks to wait"])
    def test_after_an_hour_of_failures_a_few_digests_contain_all_messages(self, ops, driver, how):
        errors = {
            "fails": [Retry(driver.problem, destination_failing=True)],
            "asks to wait": [Retry(driver.problem, timedelta(seconds=30), pauses_destination=True)],
        }
        errors["fails and asks to wait"] = errors["fails"] + errors["asks to wait"]
        for step in range(15):
            ops.error = errors[how][step % len(errors[how])]
            ops.add_messages(5 if step < 12 else 0)
            ops.drain()
            driver.later(minutes=4)
        assert ops.posts == []
        ops.error = None
        for _ in range(10):
            ops.drain()
            driver.later(seconds=30)
        assert len(ops.posts) <= 10
        assert sorted(ops.posted) == sorted(ops.made)
        assert len(ops.made) == 60

    def test_a_digest_is_repeated_unchanged_under_the_same_id(self, ops, driver):
        ops.add_messages(12)
        assert ops.step() == "digest"
        claim = ops.claim()  # ... and the worker crashes, perhaps after the post
        before = claim.delivery.message
        driver.later(seconds=31)
        ops.add_messages(20)
        ops.wait(120)
        again = [(id_, ids) for _, id_, ids in ops.posts if id_ == claim.delivery.id]
        assert again == [(claim.delivery.id, reported_deliveries(before))]
        assert sorted(ops.posted) == sorted(ops.made)

    def test_a_worker_that_crashes_after_composing_a_digest_loses_nothing(self, ops, driver):
        ops.add_messages(12)
        claim = ops.claim()
        assert ops.decide(claim) == "digest"
        # The worker crashes here. The claim has ended, regardless of the lease.
        driver.later(minutes=5)
        assert not driver.finish(claim)
        assert ops.drain() == ["post"]
        assert sorted(ops.posted) == sorted(ops.made)

    def test_a_rejected_digest_fails_and_is_posted_after_a_retrigger(self, ops, driver):
        ops.add_messages(12)
        ops.error = Failed(driver.problem)
        ops.drain()
        [made] = ops.digests()
        assert (made.state, made.error) == (State.FAILED, driver.problem)
        ops.error = None
        driver.later(minutes=5)
        ops.ledger.retriggers.retrigger(made.id, driver.now)
        assert ops.drain() == ["post"]
        assert sorted(ops.posted) == sorted(ops.made)


class TestByHand:
    def test_a_retriggered_message_of_a_digest_is_posted_separately(self, ops, driver):
        ops.add_messages(12)
        ops.drain()
        driver.later(seconds=90)
        ops.add_messages(5)
        message = next(merged for merged in ops.messages() if merged.reason == "digest")
        ops.ledger.retriggers.retrigger(message.id, driver.now)
        ops.drain()
        assert Counter(ops.posted)[message.message["body"]["delivery"]] == 2
        assert driver.read(message.id).state == State.SUCCEEDED

    def test_a_retriggered_message_ignores_quiet_hours(self, driver):
        ops = in_quiet_hours(driver)
        ops.add_messages()
        assert ops.drain() == ["wait"]
        [message] = ops.messages()
        ops.ledger.retriggers.retrigger(message.id, driver.now)
        assert ops.drain() == ["post"]

    def test_many_retriggered_messages_become_a_digest_too(self, ops, driver):
        ops.error = Failed(driver.problem)
        for _ in range(15):
            ops.add_messages()
            ops.drain()
            driver.later(minutes=1)
        ops.error = None
        for message in ops.messages():
            ops.ledger.retriggers.retrigger(message.id, driver.now)
        assert ops.drain() == ["digest", "post"]
        [made] = ops.digests()
        assert made.trigger is Trigger.MANUAL
        assert sorted(ops.posted) == sorted(ops.made)


def test_a_clock_that_was_set_back_does_not_block_the_channel(ops, driver):
    ops.add_messages(11)
    ops.drain()
    driver.later(hours=-1)
    ops.add_messages(2)
    assert ops.drain() == ["post"] * 2


class TestQuietHours:
    def test_messages_wait_for_the_end_of_quiet_hours_and_become_a_digest(self, driver):
        ops = in_quiet_hours(driver)
        ops.add_messages(40)
        assert ops.drain() == ["wait"]  # a single claim postpones all of them
        waiting = ops.messages()
        assert {message.due for message in waiting} == {
            datetime(2026, 5, 1, 23, tzinfo=driver.now.tzinfo)
        }
        assert {message.error.code for message in waiting} == {"message.quiet_hours"}
        assert "07:00 (Asia/Shanghai)" in waiting[0].error.message.zh
        driver.later(hours=10)
        assert ops.drain() == []
        driver.later(hours=1)
        assert ops.drain() == ["digest", "post"]
        assert sorted(ops.posted) == sorted(ops.made)

    def test_urgent_messages_and_their_recovery_are_posted_during_quiet_hours(self, driver):
        ops = in_quiet_hours(driver)
        fine = ops.add_messages()
        broken = ops.add_messages(1, "failed", "a.zip")
        ops.drain()
        mended = ops.add_messages(1, about_key="a.zip")
        ops.drain()
        assert sorted(ops.posted) == [*broken, *mended]
        driver.later(hours=12)
        ops.drain()
        assert ops.posted[2:] == fine

    def test_a_digest_during_quiet_hours_contains_only_urgent_messages(self, driver):
        ops = in_quiet_hours(driver)
        fine = ops.add_messages(15)
        broken = ops.add_messages(15, "failed")
        ops.drain()
        assert [sorted(ids) for _, _, ids in ops.posts] == [broken]
        driver.later(hours=12)
        ops.wait(60)
        assert sorted(ops.posted[len(broken) :]) == fine

    def test_a_waiting_digest_with_an_urgent_message_is_posted_during_quiet_hours(self, driver):
        ops = ChannelDriver(driver)
        ops.add_messages(12)
        ops.add_messages(1, "failed")
        assert ops.step() == "digest"
        ops.channel = in_quiet_hours(driver).channel
        assert ops.drain() == ["post"]

    def test_an_urgent_message_keeps_the_time_of_the_next_attempt(self, driver):
        ops = in_quiet_hours(driver)
        ops.add_messages(1, "failed")
        ops.error = Retry(driver.problem)
        ops.drain()
        driver.later(seconds=5)
        ops.add_messages(1)
        ops.drain()
        ops.error = None
        driver.later(seconds=5)
        assert ops.drain() == ["post"]

    def test_a_target_that_is_down_is_reported_during_quiet_hours(self, driver):
        ops = in_quiet_hours(driver)
        ops.add_target_message("down")
        assert ops.drain() == ["post"]

    def test_without_digests_messages_are_posted_separately_after_quiet_hours(self, driver):
        ops = in_quiet_hours(driver, burst=0)
        ops.add_messages(20)
        assert ops.drain() == ["wait"]
        driver.later(hours=12)
        assert ops.drain() == ["post"] * 20


class TestAtOnce:
    def test_running_posts_count_as_posted(self, driver):
        ops = ChannelDriver(driver, ChannelSettings(kind="slack", burst=3))
        ops.add_messages(3)
        claims = [ops.claim() for _ in range(3)]
        assert [ops.decide(claim) for claim in claims] == ["post"] * 3
        ops.add_messages(2)
        assert ops.step() == "wait"
        driver.later(seconds=2)
        for claim in claims:
            ops.post(claim)
        assert ops.step() == "wait"
        driver.later(minutes=1)
        assert ops.drain() == ["post"] * 2

    def test_messages_wait_while_a_digest_is_being_posted(self, ops, driver):
        ops.add_messages(11)
        ops.step()
        claim = ops.claim()
        assert ops.decide(claim) == "post"
        ops.add_messages(3)
        assert ops.step() == "wait"
        driver.later(seconds=2)
        ops.post(claim)
        assert ops.step() == "wait"
        driver.later(seconds=58)
        assert ops.step() is None
        driver.later(seconds=2)
        assert ops.drain() == ["post"] * 3

    def test_four_threads_post_every_message_once_and_respect_the_burst(self, driver, ledger):
        ops = ChannelDriver(driver)
        ops.add_messages(80)
        lock = threading.Lock()
        broken: list[BaseException] = []

        def work(name: str) -> None:
            lease = timedelta(seconds=30)
            try:
                while claim := retry_while_unavailable(
                    ledger.queue.claim, name, lease, {}, driver.now, kind=Kind.MESSAGE
                ):
                    if (
                        retry_while_unavailable(
                            ledger.batching.decide_post, claim, ops.channel, COMPOSE, driver.now
                        )
                        != "post"
                    ):
                        continue
                    with lock:
                        posted = reported_deliveries(claim.delivery.message)
                        ops.posts.append((driver.now, claim.delivery.id, posted))
                    assert retry_while_unavailable(
                        ledger.outcomes.finish, claim, Succeeded({}), driver.now
                    )
            except BaseException as error:  # noqa: BLE001 - checked by the test
                broken.append(error)

        for _ in range(4):
            threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            driver.later(minutes=2)
        assert broken == []
        assert sorted(ops.posted) == sorted(ops.made)
        assert len(ops.posts) <= 12


class TestAfterwards:
    def test_retention_deletes_old_digests_but_no_waiting_ones(self, ops, driver, ledger):
        ops.add_messages(12)
        ops.step()
        driver.later(days=365)
        before = ledger.retention.cutoff(KEPT, driver.now)
        ledger.retention.prune_deliveries(before)
        assert len(ops.digests()) == 1
        assert ops.drain() == ["post"]
        driver.later(days=365)
        ledger.retention.prune_deliveries(ledger.retention.cutoff(KEPT, driver.now))
        assert (list(ops.digests()), list(ops.messages())) == ([], [])

    def test_recent_posts_are_read_from_an_index(self, ledger, driver):
        ops = ChannelDriver(driver)
        ops.add_messages(3)
        executed = [
            statement
            for statement in statements(ledger, ops.step)
            if "FROM attempts" in statement[0] and "finished" in statement[0]
        ]
        assert len(executed) >= 2
        for statement in executed[:2]:
            items = steps(ledger, [statement])
            assert any("ix_attempts_told" in step for step in items), items


class TestThreads:
    def test_the_thread_belongs_to_the_message_or_to_the_digest_with_it(self, driver, ledger):
        ops = ChannelDriver(driver)
        ops.add_messages()
        claim = ops.claim()
        driver.finish(claim, Succeeded({"thread": "C1:1.5"}))
        assert ledger.history.message_thread(claim.delivery.id) == "C1:1.5"
        ops.add_messages(12)
        while ops.decide(ops.claim()) != "digest":
            pass
        claim = ops.claim()
        assert claim.delivery.message["type"] == "digest"
        single = next(message for message in ops.messages() if message.reason == "digest")
        assert ledger.history.message_thread(single.id) is None
        driver.finish(claim, Succeeded({"thread": "C1:2.5"}))
        assert ledger.history.message_thread(single.id) == "C1:2.5"
        assert ledger.history.message_thread("gone") is None


def test_a_digest_of_messages_of_an_older_version_shows_what_they_contain(driver):
    body = digest_body(
        None, "d", [(driver.now, {"type": "import.failed", "body": {"delivery": "x"}})]
    )
    assert body["deliveries"][0]["delivery"] == "x"
    assert body["links"] == {"deliveries": None}
