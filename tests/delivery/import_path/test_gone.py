"""A missing object: looked for again, then gone, and imported if it is seen again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from relay.model import AttemptOutcome, Kind, Retry, Skipped, State, Succeeded, Trigger

from .conftest import World

MakeWorld = Callable[..., World]
DELIVERED = ["import.succeeded"]


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A relay that knows of an object that is missing."""
    world = make_world()
    world.relay.queue_poller.scanner.scan_once(world.relay.plugins.sources["exports"])
    world.upload("hello")
    hide(world)
    return world


def hide(world: World, function: str = "hello") -> None:
    """Remove an object so that `show` brings the same upload back."""
    (world.exports / f"{function}.zip").rename(world.exports / f".{function}.zip")


def show(world: World, function: str = "hello") -> None:
    (world.exports / f".{function}.zip").rename(world.exports / f"{function}.zip")


def look(world: World, **later: float) -> Any:
    """Return the outcome of the attempt that is due by then; None if none is due."""
    world.clock.forward(timedelta(**later))
    claim = world.relay.worker.claim(Kind.IMPORT)
    return claim and world.relay.worker.run(claim)


def end_as_gone(world: World) -> None:
    for _ in range(3):
        look(world, minutes=3)
        if world.delivery.state.finished:
            break
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "gone")


def scan(world: World) -> int:
    """Return the number of revived deliveries."""
    source = world.relay.plugins.sources["exports"]
    revived: int = world.relay.queue_poller.scanner.scan_once(source)["revived"]
    return revived


def test_an_object_is_gone_after_it_was_missing_three_times(world: World) -> None:
    assert isinstance(look(world), Retry)
    first = world.delivery
    assert (first.state, first.error and first.error.code) == (State.PENDING, "object.missing")
    assert look(world, seconds=29) is None
    assert isinstance(look(world, seconds=2), Retry)
    assert world.delivery.missing_since == first.missing_since
    assert look(world, seconds=85) is None
    world.post_messages()
    assert world.message_types == []
    outcome = look(world, seconds=10)
    assert isinstance(outcome, Skipped)
    assert world.delivery.missing_since is None
    world.post_messages()
    assert world.message_types == ["import.skipped"]
    outcomes = [a.outcome for a in world.relay.ledger.history.attempts(world.delivery.id)]
    assert outcomes == [AttemptOutcome.RETRY, AttemptOutcome.RETRY, AttemptOutcome.SKIPPED]


def test_an_object_that_appears_meanwhile_is_imported(world: World) -> None:
    look(world)
    show(world)
    assert isinstance(look(world, seconds=31), Succeeded)
    assert world.delivery.missing_since is None
    world.post_messages()
    assert world.message_types == DELIVERED


def test_another_failure_meanwhile_starts_the_time_again(world: World) -> None:
    look(world)
    show(world)
    world.sandbox.fault(operation="import", status=503)
    look(world, seconds=31)
    hide(world)
    assert isinstance(look(world, minutes=3), Retry)


def test_looking_costs_no_try_and_blocks_no_other_delivery(make_world: MakeWorld) -> None:
    world = make_world(attempts=1)
    world.upload("hello")
    hide(world)
    assert isinstance(look(world), Retry)
    world.upload("other")
    assert isinstance(look(world), Succeeded)
    show(world)
    world.sandbox.fault(operation="config", status=500)
    look(world, seconds=31)
    assert [d.state for d in world.deliveries(Kind.IMPORT)] == [State.SUCCEEDED, State.FAILED]


class TestRevival:
    """The same upload is seen again after its delivery ended as gone."""

    @pytest.fixture
    def gone(self, world: World) -> World:
        end_as_gone(world)
        return world

    def test_a_scan_that_lists_the_object_revives_the_delivery(self, gone: World) -> None:
        before = gone.delivery
        assert scan(gone) == 0
        show(gone)
        handler = gone.relay.plugins.sources["exports"]
        listed = list(gone.relay.queue_poller.scanner.list_unannounced(handler))
        assert [event.object.key for event in listed] == ["hello.zip"]
        assert scan(gone) == 1
        revived = gone.delivery
        assert (revived.id, revived.state, revived.run) == (before.id, State.PENDING, 2)
        assert (revived.trigger, revived.reason, revived.result) == (Trigger.AUTOMATIC, None, None)
        assert isinstance(look(gone, seconds=1), Succeeded)
        assert len(gone.relay.ledger.history.attempts(before.id)) == 3
        assert scan(gone) == 0

    def test_an_object_that_is_listed_but_never_readable_is_revived_ever_more_rarely(
        self, gone: World
    ) -> None:
        show(gone)
        for run, wait in ((1, 0), (2, 4), (3, 8)):
            if wait:
                assert scan(gone) == 0
            gone.clock.forward(timedelta(minutes=wait))
            assert scan(gone) == 1, run
            hide(gone)
            end_as_gone(gone)
            show(gone)

    def test_a_submission_revives_the_delivery(self, gone: World) -> None:
        before = gone.delivery
        show(gone)
        [submitted] = gone.relay.operations.submit("exports", "exports", "hello.zip")
        assert submitted.id == before.id
        assert isinstance(look(gone, seconds=1), Succeeded)

    def test_an_upload_of_the_same_bytes_is_a_new_delivery(self, gone: World) -> None:
        gone.upload("hello")
        [old, new] = sorted(gone.deliveries(Kind.IMPORT), key=lambda delivery: delivery.id)
        assert (old.reason, new.state) == ("gone", State.PENDING)
        assert isinstance(look(gone, seconds=1), Succeeded)


class TestGivenUp:
    """A scan lists the object of a delivery that failed."""

    @pytest.fixture
    def world(self, make_world: MakeWorld) -> World:
        world = make_world(attempts=1)
        scan(world)
        return world

    def test_a_scan_revives_once_what_relay_gave_up(self, world: World) -> None:
        world.upload("hello")
        world.sandbox.fault(operation="config", status=500, times=2)
        for run in (1, 2):
            look(world, seconds=1)
            assert (world.delivery.state, world.delivery.run) == (State.FAILED, run)
            assert scan(world) == 2 - run
        world.relay.operations.retrigger(world.delivery.id)
        assert isinstance(look(world, seconds=1), Succeeded)

    def test_a_scan_does_not_revive_a_refusal(self, world: World) -> None:
        world.upload("refused")
        world.sandbox.fault(operation="import", status=400, code="FSS.0400")
        look(world, seconds=1)
        assert world.delivery.state == State.FAILED
        assert scan(world) == 0

    def test_a_scan_does_not_revive_a_bad_archive(self, world: World) -> None:
        world.upload("broken", b"this is no zip")
        look(world, seconds=1)
        assert world.delivery.state == State.FAILED
        assert scan(world) == 0
