"""Services that ask to wait, over HTTP on each engine: neither imports nor messages are lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from relay.model import Delivery, Kind, Outcome, State

from .conftest import World

ATTEMPTS = 3
STORM = 12
"""Requests to wait: more than the attempts of a delivery."""


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    world = make_world(attempts=ATTEMPTS)
    world.upload()
    return world


def find(world: World, delivery: Delivery) -> Delivery:
    [found] = [d for d in world.deliveries(delivery.kind) if d.id == delivery.id]
    return found


def attempt_when_due(world: World, kind: Kind) -> Outcome | None:
    """Run the next attempt as soon as it is due."""
    [waiting] = [d for d in world.deliveries(kind) if d.state == State.PENDING]
    assert waiting.due
    world.clock.forward(max(waiting.due - world.clock(), timedelta(0)))
    claim = world.relay.worker.claim(kind)
    assert claim is not None, "nothing is due"
    return world.relay.worker.run(claim)


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 503}])
@pytest.mark.parametrize("retry_after", [1, 3600])
def test_a_storm_longer_than_the_attempts_loses_neither_the_import_nor_the_message(
    world: World, fault: dict[str, int], retry_after: int
) -> None:
    asked = {**fault, "retry_after": retry_after, "times": STORM}
    world.sandbox.fault(operation="import", **asked)
    for _ in range(STORM):
        attempt_when_due(world, Kind.IMPORT)
    assert (world.delivery.state, world.delivery.waits) == (State.PENDING, STORM)
    attempt_when_due(world, Kind.IMPORT)
    assert world.delivery.state == State.SUCCEEDED
    world.inbox.fault(operation="webhook", **asked)
    for _ in range(STORM):
        attempt_when_due(world, Kind.MESSAGE)
    [message] = world.deliveries(Kind.MESSAGE)
    assert (message.state, message.waits) == (State.PENDING, STORM)
    attempt_when_due(world, Kind.MESSAGE)
    assert world.message_types == ["import.succeeded"]


def test_a_429_without_a_time_uses_up_no_attempt(world: World) -> None:
    world.sandbox.fault(operation="import", status=429, times=STORM)
    for _ in range(STORM + 1):
        attempt_when_due(world, Kind.IMPORT)
    assert world.delivery.state == State.SUCCEEDED


def test_other_failures_use_up_the_attempts(world: World) -> None:
    world.sandbox.fault(operation="import", status=429, retry_after=1, times=2)
    for _ in range(2):
        attempt_when_due(world, Kind.IMPORT)
    world.sandbox.fault(operation="import", status=503, times=None)
    for _ in range(ATTEMPTS):
        attempt_when_due(world, Kind.IMPORT)
    assert (world.delivery.state, world.delivery.gave_up) == (State.PENDING, "attempts"), (
        "the last call may still take effect"
    )
    attempt_when_due(world, Kind.IMPORT)
    assert (world.delivery.state, world.delivery.gave_up) == (State.FAILED, "attempts")
    assert len(world.imports) == 2 + ATTEMPTS, "nothing was sent after the last attempt"


@pytest.mark.parametrize("kind", Kind)
def test_a_delivery_that_is_asked_to_wait_for_two_days_ends_and_says_so(
    world: World, kind: Kind
) -> None:
    server, operation = world.sandbox, "import"
    if kind == Kind.MESSAGE:
        attempt_when_due(world, Kind.IMPORT)
        server, operation = world.inbox, "webhook"
    [delivery] = world.deliveries(kind)
    server.fault(operation=operation, status=429, retry_after=3600, times=None)
    for _ in range(2):
        attempt_when_due(world, kind)
    world.clock.forward(timedelta(hours=46) - timedelta(minutes=1))
    for hours in range(47, 50):
        assert find(world, delivery).state == State.PENDING, f"after {hours} hours"
        attempt_when_due(world, kind)
    delivery = find(world, delivery)
    assert (delivery.state, delivery.gave_up) == (State.FAILED, "time")
    assert delivery.error is not None
    assert delivery.error.code == "delivery.gave_up"
    assert "The last error: " in delivery.error.message.en
    assert "放弃" in delivery.error.message.zh
    server.faults.clear()
    if kind == Kind.IMPORT:
        world.post_messages()
        assert world.message_types == ["import.failed"]
        [message] = world.inbox.messages
        assert message.json["data"]["error"]["code"] == "delivery.gave_up"
    world.relay.ledger.retriggers.retrigger(delivery.id, world.clock())
    attempt_when_due(world, kind)
    assert find(world, delivery).state == State.SUCCEEDED


def test_a_pause_of_a_week_ends_no_delivery(world: World) -> None:
    destinations = world.relay.ledger.destinations
    world.sandbox.fault(operation="import", status=429, retry_after=1, times=2)
    attempt_when_due(world, Kind.IMPORT)
    destinations.pause(Kind.IMPORT, "prod", world.clock())
    world.clock.forward(timedelta(days=7))
    destinations.resume(Kind.IMPORT, "prod", world.clock())
    attempt_when_due(world, Kind.IMPORT)
    assert world.delivery.state == State.PENDING
    attempt_when_due(world, Kind.IMPORT)
    assert world.delivery.state == State.SUCCEEDED


def test_probes_of_a_target_that_is_down_use_up_no_attempt(
    make_world: Callable[..., World],
) -> None:
    world = make_world(attempts=11)
    world.upload()
    world.sandbox.fault(operation="import", status=503, times=None)
    for _ in range(10):
        attempt_when_due(world, Kind.IMPORT)
    assert world.relay.ledger.destinations.is_down(Kind.IMPORT, "prod")
    for _ in range(5):
        world.clock.forward(timedelta(seconds=30))
        attempt_when_due(world, Kind.IMPORT)
    assert (world.delivery.state, world.delivery.waits) == (State.PENDING, 5)
    world.sandbox.faults.clear()
    world.clock.forward(timedelta(seconds=30))
    attempt_when_due(world, Kind.IMPORT)
    assert world.delivery.state == State.SUCCEEDED


def test_a_delivery_that_cannot_be_tried_ends_with_its_time(world: World) -> None:
    """The target asked the first delivery to wait: the second was never tried."""
    worker, first = world.relay.worker, world.delivery
    world.upload("other")
    world.sandbox.fault(operation="import", status=429, retry_after=3600, times=None)
    world.clock.forward(timedelta(hours=47, minutes=30))
    claim = worker.claim(Kind.IMPORT, only=first.id)
    assert claim is not None
    worker.run(claim)
    assert worker.claims.claim_overdue(Kind.IMPORT) is None
    world.clock.forward(timedelta(minutes=30))
    for _ in range(2):
        claim = worker.claims.claim_overdue(Kind.IMPORT)
        assert claim is not None
        worker.run(claim)
    assert worker.claims.claim_overdue(Kind.IMPORT) is None
    assert len(world.imports) == 1
    errors = [delivery.error for delivery in world.deliveries(Kind.IMPORT)]
    assert [error and error.code for error in errors] == ["delivery.gave_up"] * 2
    assert {"429" in error.message.en for error in errors if error} == {True, False}
    world.post_messages()
    assert world.message_types == ["import.failed"] * 2
