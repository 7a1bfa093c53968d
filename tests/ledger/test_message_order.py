"""Tests of the order of the messages about an object, or about a target, in each channel."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest

from relay.channels.messages import digest_body
from relay.config.load import ChannelSettings
from relay.ledger import Ledger, LedgerUnavailable
from relay.ledger.message_order import store_messages
from relay.model import Failed, Kind, NewMessage, Retry, State, Succeeded, utc_now

from .conftest import LEASE
from .plans import analyze, full_scans, statements, steps

COMPOSE = partial(digest_body, None)


class ObjectDriver:
    """Finishes imports of the same object, and posts the messages as a worker does."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.ledger: Ledger = driver.ledger
        self.posted: list[Any] = []
        self.uploads = 0

    def finish(self, result: str, key: str = "prod/a.zip", **more: Any) -> str:
        """Finish an import with a message to "ops". Returns the id of the import."""
        self.uploads += 1
        options = {name: more.pop(name) for name in ("only_if_recovered",) if name in more}
        channel = more.pop("channel", "ops")
        delivery = self.driver.deliver_to("prod", key, version=str(self.uploads), **more)
        claim = self.driver.claimed(kind=Kind.IMPORT, only=delivery.id)
        body = {"delivery": delivery.id, "recovered": None, "error": None}
        message = NewMessage(channel, f"import.{result}", body, **options)
        outcome = Failed(self.driver.problem) if result == "failed" else None
        assert self.driver.finish(claim, outcome, messages=[message])
        self.driver.later(seconds=1)
        return str(delivery.id)

    def messages(self, import_id: str) -> list[Any]:
        return self.ledger.history.messages(import_id)

    def message(self, import_id: str) -> Any:
        [message] = self.messages(import_id)
        return message

    def claim(self) -> Any:
        return self.driver.claim(kind=Kind.MESSAGE)

    def post(self, claim: Any) -> None:
        self.posted.append(claim.delivery)
        assert self.driver.finish(claim, Succeeded({}))

    def drain(self) -> list[str]:
        """Post all due messages. Returns their types."""
        types = []
        while claim := self.claim():
            self.post(claim)
            types.append(claim.delivery.message["type"])
        return types

    def retry(self, claim: Any, seconds: int = 3600) -> None:
        assert self.driver.retry(claim, seconds)

    def digest(self, count: int, burst: int = 1) -> Any:
        """Merge the `count` waiting messages into a digest."""
        channel = ChannelSettings(kind="slack", burst=burst)
        claim = self.claim()
        decision = self.ledger.batching.decide_post(claim, channel, COMPOSE, self.driver.now)
        assert decision == "digest"
        claim = self.claim()
        assert claim.delivery.message["body"]["count"] == count
        return claim


@pytest.fixture
def ops(driver: Any) -> ObjectDriver:
    return ObjectDriver(driver)


class TestReplaced:
    def test_a_newer_message_replaces_one_that_waits(self, ops):
        failed = ops.finish("failed")
        succeeded = ops.finish("succeeded")
        old, new = ops.message(failed), ops.message(succeeded)
        assert (old.state, old.reason, old.due) == (State.SKIPPED, "superseded", None)
        assert old.result["replaced_by"] == new.id
        assert "replaced" in old.result["words"]["en"]
        assert old.finished == new.created
        assert ops.drain() == ["import.succeeded"]
        assert ops.posted[0].message["body"]["recovered"] is None

    def test_a_message_that_was_tried_already_is_replaced_too(self, ops):
        failed = ops.finish("failed")
        ops.retry(ops.claim())
        ops.finish("succeeded")
        assert ops.message(failed).reason == "superseded"
        assert ops.message(failed).attempts == 1
        assert ops.drain() == ["import.succeeded"]

    @pytest.mark.parametrize(
        "other",
        [
            {"key": "prod/b.zip"},
            {"route": "exports#2"},
            {"bucket": "elsewhere"},
            {"channel": "dev"},
        ],
        ids=lambda other: next(iter(other)),
    )
    def test_messages_about_others_stay(self, ops, other):
        first = ops.finish("failed")
        ops.finish("succeeded", **other)
        assert ops.message(first).state == State.PENDING
        assert sorted(ops.drain()) == ["import.failed", "import.succeeded"]

    def test_a_message_that_a_person_wants_is_posted(self, ops, driver, ledger):
        failed = ops.finish("failed")
        ledger.retriggers.retrigger(ops.message(failed).id, driver.now)
        ops.finish("succeeded")
        assert ops.drain() == ["import.failed", "import.succeeded"]

    def test_a_replaced_message_can_be_retriggered(self, ops, driver, ledger):
        failed = ops.finish("failed")
        ops.finish("succeeded")
        ledger.retriggers.retrigger(ops.message(failed).id, driver.now)
        assert sorted(ops.drain()) == ["import.failed", "import.succeeded"]

    def test_a_clock_that_was_set_back_changes_no_order(self, ops, driver):
        failed = ops.finish("failed")
        driver.now -= timedelta(hours=2)
        succeeded = ops.finish("succeeded")
        assert ops.message(failed).reason == "superseded"
        assert ops.message(succeeded).id > ops.message(failed).id
        assert ops.drain() == ["import.succeeded"]

    def test_messages_about_a_target_replace_each_other(self, ops, driver, ledger):
        def store(word, target):
            message = NewMessage("ops", f"target.{word}", {"target": target})
            with ledger._database.write() as connection:
                store_messages(ledger._database, connection, [message], driver.later(seconds=1))

        store("down", "prod")
        store("down", "other")
        store("up", "prod")
        ops.drain()
        posted = [(m.message["type"], m.message["body"]["target"]) for m in ops.posted]
        assert posted == [("target.down", "other"), ("target.up", "prod")]


class TestBeingPosted:
    def test_a_newer_message_waits_for_an_older_one(self, ops):
        ops.finish("failed")
        older = ops.claim()
        ops.finish("succeeded")
        assert ops.claim() is None
        ops.post(older)
        assert ops.drain() == ["import.succeeded"]
        recovered = ops.posted[1].message["body"]["recovered"]
        assert recovered["message"] == older.delivery.id

    def test_others_do_not_wait(self, ops):
        ops.finish("failed")
        assert ops.claim()
        ops.finish("succeeded", key="prod/b.zip")
        assert ops.drain() == ["import.succeeded"]

    def test_an_older_one_that_could_not_be_posted_is_replaced(self, ops):
        failed = ops.finish("failed")
        older = ops.claim()
        ops.finish("succeeded")
        ops.retry(older)
        assert ops.drain() == ["import.succeeded"]
        assert ops.posted[0].message["body"]["recovered"] is None
        assert ops.message(failed).reason == "superseded"

    def test_a_success_that_only_the_failure_made_interesting_is_not_posted(self, ops):
        ops.finish("failed")
        older = ops.claim()
        succeeded = ops.finish("succeeded", only_if_recovered=True)
        assert ops.message(succeeded).message["body"]["recovered"]
        ops.retry(older)
        assert ops.drain() == []
        assert ops.message(succeeded).state == State.SKIPPED

    def test_it_is_not_stored_without_a_failure(self, ops):
        assert ops.messages(ops.finish("succeeded", only_if_recovered=True)) == []

    def test_an_earlier_failure_counts_if_the_last_was_not_posted(self, ops):
        first = ops.finish("failed")
        ops.drain()
        ops.finish("failed")
        ops.finish("succeeded")
        ops.drain()
        recovered = ops.posted[1].message["body"]["recovered"]
        assert recovered["message"] == ops.message(first).id

    def test_a_recovery_is_reported_only_once(self, ops):
        for result in ("failed", "succeeded", "succeeded"):
            ops.finish(result)
            ops.drain()
        recovered = [bool(posted.message["body"]["recovered"]) for posted in ops.posted]
        assert recovered == [False, True, False]

    @pytest.mark.parametrize("ends", ["release", "reclaim", "lease"])
    def test_an_older_one_that_a_worker_gave_back_is_replaced(self, ops, driver, ledger, ends):
        failed = ops.finish("failed")
        older = ops.claim()
        ops.finish("succeeded")
        if ends == "release":
            assert ledger.queue.release(older, driver.now)
        elif ends == "reclaim":
            assert ledger.queue.reclaim(older.owner, driver.now) == 1
        else:
            driver.later(seconds=LEASE.total_seconds() + 1)
        assert ops.drain() == ["import.succeeded"]
        assert ops.message(failed).reason == "superseded"
        outcomes = [str(attempt.outcome) for attempt in ledger.history.attempts(older.delivery.id)]
        assert outcomes == ["released" if ends == "release" else "lost"]

    def test_it_is_replaced_even_after_the_claim(self, ops, driver, ledger):
        failed = ops.finish("failed")
        older = ops.claim()
        ops.finish("succeeded")
        channel = ChannelSettings(kind="slack", burst=10)
        decide = ledger.batching.decide_post
        assert decide(older, channel, COMPOSE, driver.now) == "replaced"
        assert ops.message(failed).reason == "superseded"
        assert ops.message(failed).attempts == 0
        assert ops.drain() == ["import.succeeded"]


class TestDigests:
    def others(self, ops: ObjectDriver, count: int) -> list[str]:
        return [ops.finish("succeeded", key=f"prod/other{n}.zip") for n in range(count)]

    def test_a_digest_that_waits_loses_a_replaced_message(self, ops, driver):
        failed = ops.finish("failed")
        kept = self.others(ops, 2)
        digest = ops.digest(3)
        ops.retry(digest, 10)
        succeeded = ops.finish("succeeded")
        assert ops.drain() == ["import.succeeded"]
        assert ops.posted[0].parent == succeeded
        assert ops.posted[0].message["body"]["recovered"] is None
        assert (ops.message(failed).reason, ops.message(failed).state) == (
            "superseded",
            State.SKIPPED,
        )
        driver.later(seconds=10)
        assert ops.drain() == ["digest"]
        body = ops.posted[1].message["body"]
        assert sorted(entry["delivery"] for entry in body["deliveries"]) == sorted(kept)
        assert (body["count"], body["results"]) == (2, {"succeeded": 2})

    def test_a_digest_that_is_due_first_loses_it_as_well(self, ops, driver):
        ops.finish("failed")
        self.others(ops, 2)
        ops.retry(ops.digest(3), 10)
        driver.later(seconds=20)
        ops.finish("succeeded")
        assert ops.drain() == ["digest", "import.succeeded"]
        assert ops.posted[0].message["body"]["results"] == {"succeeded": 2}

    def test_a_digest_without_any_message_left_is_not_posted(self, ops, driver, ledger):
        self.others(ops, 2)
        digest = ops.digest(2)
        ops.retry(digest, 10)
        self.others(ops, 2)
        driver.later(seconds=20)
        assert ops.drain() == ["import.succeeded"] * 2
        assert ledger.history.delivery(digest.delivery.id).reason == "superseded"

    def test_a_newer_message_waits_while_the_digest_is_posted(self, ops, driver):
        ops.finish("failed")
        self.others(ops, 2)
        digest = ops.digest(3)
        ops.finish("succeeded")
        assert ops.claim() is None
        ops.post(digest)
        driver.later(seconds=2)
        assert ops.drain() == ["import.succeeded"]
        assert ops.posted[1].message["body"]["recovered"]


def test_the_order_is_looked_up_in_an_index(ops, driver, ledger):
    for number in range(50):
        ops.finish("failed", key=f"prod/{number}.zip")
    analyze(ledger)

    def act():
        ops.finish("failed")
        older = ops.claim()
        ops.finish("succeeded")
        ops.retry(older, 1)
        ops.drain()

    found = [step for step in steps(ledger, statements(ledger, act)) if "lane" not in step]
    assert full_scans(found) <= {"anon_1", "gates"}
    assert any("ix_deliveries_subject" in step for step in found)


class RandomChat:
    """Posts messages in threads, each with own connections; half of the attempts fail."""

    def __init__(self, url: str, problem: Any) -> None:
        self.url = url
        self.problem = problem
        self.posted: dict[str, list[int]] = defaultdict(list)
        self.overlaps: list[str] = []
        self.is_over = threading.Event()
        self._under_way: set[str] = set()
        self._generator = random.Random(5)

    def work(self, number: int) -> None:
        own = Ledger.open(self.url)
        claim, is_last = None, False
        while claim or not is_last:
            is_last = self.is_over.is_set()
            claim = retried(own.queue.claim, f"w{number}", LEASE, {}, kind=Kind.MESSAGE)
            if claim:
                outcome = self._post(claim.delivery.message["body"], is_last=is_last)
                assert retried(own.outcomes.finish, claim, outcome, due=utc_now())
        own.close()

    def _post(self, body: Any, *, is_last: bool) -> Succeeded | Retry:
        name = body["object"]
        self.overlaps += [name] if name in self._under_way else []
        self._under_way.add(name)
        is_posted = is_last or self._generator.random() < 0.5
        if is_posted:
            self.posted[name].append(body["number"])
        self._under_way.discard(name)
        return Succeeded({}) if is_posted else Retry(self.problem)


def retried(call: Any, *arguments: Any, **more: Any) -> Any:
    """Repeat while the database is locked, because a busy machine may hold it for long."""
    while True:
        with suppress(LedgerUnavailable):
            return call(*arguments, now=utc_now(), **more)


def test_no_older_message_is_posted_after_a_newer_one_by_many_workers(url, ledger, driver):
    chat = RandomChat(url, driver.problem)
    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(chat.work, number) for number in range(4)]
        for number, name in product(range(30), "ab"):
            driver.now = utc_now()
            delivery = driver.deliver_to("prod", f"{name}.zip", version=str(number))
            claim = driver.claimed(kind=Kind.IMPORT, only=delivery.id)
            body = {"object": name, "number": number, "delivery": delivery.id}
            message = NewMessage("ops", "import.failed", body)
            assert driver.finish(claim, Failed(driver.problem), messages=[message])
        chat.is_over.set()
        for worker in workers:
            worker.result()
    assert chat.overlaps == []
    assert all(numbers == sorted(numbers) for numbers in chat.posted.values())
    assert [numbers[-1] for numbers in chat.posted.values()] == [29, 29]
    assert ledger.statistics.counts().get((Kind.MESSAGE, State.PENDING), 0) == 0
