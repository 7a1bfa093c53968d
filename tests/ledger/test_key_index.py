"""Tests of long keys, which are found by an index too."""

from __future__ import annotations

import random

import pytest

from relay.ledger import DeliveryQuery
from relay.model import Kind, Origin, Verdict

from .plans import analyze, full_scans, statements, steps

CHINESE = "".join(random.Random(1).sample([chr(code) for code in range(0x4E00, 0x9FFF)], 1024))
"""3,072 bytes that do not compress; Azure allows keys of 1,024 characters."""


@pytest.mark.parametrize("key", [CHINESE, "\ud800" * 900, "😀" * 256], ids=["cjk", "half", "4"])
def test_a_long_key_is_delivered_and_recognised(ledger, driver, key):
    long, beside = driver.event(key, version="1"), driver.event("good.zip", version="1")
    assert driver.accept(long, beside).new_events == 2
    assert driver.accept(long, origin=Origin.QUEUE).verdict == Verdict.DUPLICATE
    claimed = [driver.claimed(kind=Kind.IMPORT) for _ in range(2)]
    assert {claim.delivery.key for claim in claimed} == {key, "good.zip"}
    assert ledger.intake.known_ids("exports", [long, beside]) == [
        long.id_in("exports"),
        beside.id_in("exports"),
    ]
    assert len(ledger.history.deliveries(DeliveryQuery(key=key)).items) == 1


def test_long_keys_with_the_same_prefix_are_different_objects(ledger, driver):
    ends = [driver.event(CHINESE[:1000] + end, version="1") for end in ("a", "b", "c")]
    assert driver.accept(*ends[:2]).new_events == 2
    assert ledger.intake.known_ids("exports", ends) == [
        *(event.id_in("exports") for event in ends[:2]),
        None,
    ]
    assert driver.accept(ends[2]).new_events == 1
    assert [
        delivery.key
        for delivery in ledger.history.deliveries(DeliveryQuery(key=ends[0].object.key)).items
    ] == [ends[0].object.key]


def test_a_key_is_looked_up_in_an_index(ledger, driver):
    delivery = driver.done(version="1")
    driver.accept(*(driver.event(f"{number}.zip", version="1") for number in range(1000)))
    analyze(ledger)
    first, second = driver.event(version="2"), driver.event("b.zip", version="2")

    def act():
        driver.accept(first)
        ledger.intake.known_ids("exports", [first, second])
        ledger.history.newer_event(first.id_in("exports"), "exports#1", possibly=True)
        ledger.history.deliveries(DeliveryQuery(key=delivery.key))

    found = steps(ledger, statements(ledger, act))
    assert full_scans(found) <= {"anon_1"}
    assert sum("ix_events_object" in step for step in found) == 3
    assert sum("ix_deliveries_key" in step for step in found) == 1
    if not ledger._database.is_sqlite:
        by_key = [step for step in found if step.startswith("Index Cond") and "key" in step]
        assert len(by_key) == 4
        assert all('"left"(' in step for step in by_key)
