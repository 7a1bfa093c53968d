"""Tests of the reasons why deliveries wait, for a list, a single delivery and the metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from relay.config.load import ChannelSettings, Settings, SourceSettings, TargetSettings
from relay.config.units import RateLimit
from relay.ledger import Configured, Ledger
from relay.ledger.values import Waiting, WaitReason
from relay.model import Failed, Kind, NewMessage, Retry

from .plans import analyze, full_scans, statements, steps

MINUTE = timedelta(minutes=1)
RATE = RateLimit(1, MINUTE)
IMPORTS = Kind.IMPORT, "prod"
CONFIGURED = Configured.of(
    Settings(
        sources={"exports": SourceSettings(kind="s3")},
        targets={"prod": TargetSettings(kind="functiongraph", concurrency=2)},
        channels={"ops": ChannelSettings(kind="slack", rate="1/1m")},
    )
)


class WaitDriver:
    """Creates deliveries and asks why they wait."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.ledger: Ledger = driver.ledger
        self.number = 0

    def add(self, key: str | None = None, **more: Any) -> Any:
        self.number += 1
        key = key or f"prod/{self.number}.zip"
        return self.driver.deliver_to(more.pop("to", "prod"), key, version=str(self.number), **more)

    def claim(self, **more: Any) -> Any:
        return self.driver.claimed(rates=CONFIGURED.rates, **more)

    def waiting(self, delivery: Any) -> Waiting | None:
        """Return why it waits; the metrics must agree."""
        found = self.driver.read(delivery.id)
        [explained] = self.ledger.waits.explain([found], CONFIGURED, self.driver.now)
        backlog = self.ledger.waits.backlog(CONFIGURED, self.driver.now)
        if explained.waiting:
            assert backlog.waiting()[delivery.kind, explained.waiting.reason] >= 1
            assert (delivery.kind, explained.waiting.reason) in backlog.oldest_waiting()
        else:
            assert delivery.kind in backlog.oldest_due()
        return explained.waiting

    def retry(self, claim: Any, **more: Any) -> Any:
        due = self.driver.now + timedelta(seconds=more.pop("seconds", 600))
        assert self.driver.finish(claim, Retry(self.driver.problem, **more), due=due)
        return due

    def message(self) -> Any:
        delivery = self.add()
        claim = self.claim(kind=Kind.IMPORT, only=delivery.id)
        message = NewMessage("ops", "import.failed", {"delivery": delivery.id, "recovered": None})
        assert self.driver.finish(claim, Failed(self.driver.problem), messages=[message])
        return self.ledger.history.messages(delivery.id)[0]


@pytest.fixture
def waits(driver: Any) -> WaitDriver:
    return WaitDriver(driver)


def test_a_due_delivery_of_an_open_destination_does_not_wait(waits):
    assert waits.waiting(waits.add()) is None


def test_a_running_or_finished_delivery_does_not_wait(waits, driver, ledger):
    running = waits.add()
    claim = waits.claim()
    for _ in range(2):
        [found] = ledger.waits.explain([driver.read(running.id)], CONFIGURED, driver.now)
        assert found.waiting is None
        driver.finish(claim)


def test_paused(waits, driver, ledger):
    delivery = waits.add()
    ledger.destinations.pause(*IMPORTS, driver.now)
    assert waits.waiting(delivery) == Waiting(WaitReason.PAUSED)


def test_down_until_the_next_check(waits, driver):
    for _ in range(10):
        waits.add()
        waits.retry(waits.claim(), destination_failing=True, seconds=5)
    delivery = waits.add()
    until = driver.now + timedelta(seconds=30)
    assert waits.waiting(delivery) == Waiting(WaitReason.DOWN, until)


def test_rate_until_the_next_message_is_allowed(waits, driver):
    waits.message()
    driver.finish(waits.claim(kind=Kind.MESSAGE))
    until = driver.now + MINUTE
    driver.later(seconds=1)
    assert waits.waiting(waits.message()) == Waiting(WaitReason.RATE, until)


def test_concurrency(waits):
    for _ in range(2):
        waits.add()
        waits.claim()
    assert waits.waiting(waits.add()) == Waiting(WaitReason.CONCURRENCY)


def test_the_same_object(waits):
    waits.add("prod/a.zip")
    waits.claim()
    assert waits.waiting(waits.add("prod/a.zip")) == Waiting(WaitReason.SAME_FUNCTION)
    assert waits.waiting(waits.add("prod/b.zip")) is None


def test_the_same_function(waits, driver, ledger):
    waits.add("prod/a.zip")
    claim = waits.claim()
    assert ledger.functions.lock(claim, "orders", driver.now).status == "locked"
    waiting = waits.add("prod/b.zip")
    other = waits.claim(only=waiting.id)
    assert ledger.functions.lock(other, "orders", driver.now).status == "busy"
    assert waits.waiting(waiting) == Waiting(WaitReason.SAME_FUNCTION)


def test_backoff_until_it_is_due(waits):
    delivery = waits.add()
    due = waits.retry(waits.claim())
    assert waits.waiting(delivery) == Waiting(WaitReason.BACKOFF, due)


def test_a_delivery_that_was_asked_to_wait(waits):
    delivery = waits.add()
    due = waits.retry(waits.claim(), retry_after=timedelta(seconds=600))
    assert waits.waiting(delivery) == Waiting(WaitReason.ASKED_TO_WAIT, due)


def test_a_destination_that_asked_to_wait(waits, driver):
    asked = waits.add()
    delivery = waits.add()
    more = {"retry_after": timedelta(seconds=600), "pauses_destination": True}
    due = waits.retry(waits.claim(only=asked.id), **more)
    assert waits.waiting(delivery) == Waiting(WaitReason.ASKED_TO_WAIT, due)


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ({"quiet_hours": "11:00-13:00", "urgent": []}, WaitReason.QUIET_HOURS),
        ({"burst": 1}, WaitReason.RATE),
    ],
)
def test_a_message_in_quiet_hours_or_after_many_others(waits, driver, ledger, channel, reason):
    settings = ChannelSettings(kind="slack", **channel)
    for number in range(2):
        message = waits.message()
        claim = driver.claimed(kind=Kind.MESSAGE, only=message.id)
        decided = ledger.batching.decide_post(claim, settings, lambda *_: {}, driver.now)
        if decided == "post" and not number:
            driver.finish(claim)
    assert decided == "wait"
    found = driver.read(message.id)
    assert waits.waiting(message) == Waiting(reason, found.due)


@pytest.mark.parametrize("missing", [{"to": "removed"}, {"source": "removed"}], ids=str)
def test_a_destination_or_source_that_is_not_configured(waits, driver, ledger, missing):
    if "source" in missing:
        accepted = driver.accept(driver.event(version="1"), source="removed")
        delivery = driver.read(accepted.deliveries[0])
    else:
        delivery = waits.add(**missing)
    assert waits.waiting(delivery) == Waiting(WaitReason.NOT_CONFIGURED)
    [group] = ledger.waits.backlog(CONFIGURED, driver.now).not_configured()
    assert (group.destination, group.source, group.number) == (
        delivery.destination,
        delivery.source,
        1,
    )


def test_the_longest_wait_counts(waits, driver, ledger):
    delivery = waits.add()
    other = waits.add()
    due = waits.retry(waits.claim(only=delivery.id), seconds=600)
    held = {"retry_after": timedelta(seconds=60), "pauses_destination": True}
    waits.retry(waits.claim(only=other.id), seconds=60, **held)
    assert waits.waiting(delivery) == Waiting(WaitReason.BACKOFF, due)
    driver.later(seconds=61)
    assert waits.waiting(other) is None


def test_a_list_is_explained_by_a_fixed_number_of_queries(waits, driver, ledger):
    found = [waits.add() for _ in range(60)]
    waits.retry(waits.claim())
    analyze(ledger)

    def explain(items):
        return statements(ledger, lambda: ledger.waits.explain(items, CONFIGURED, driver.now))

    assert len(explain(found)) == len(explain(found[:1])) == 3
    assert explain([]) == []

    def scrape():
        ledger.waits.explain(found, CONFIGURED, driver.now)
        ledger.waits.backlog(CONFIGURED, driver.now)

    tables = full_scans(steps(ledger, statements(ledger, scrape)))
    assert tables <= {"gates", "anon_1"}
