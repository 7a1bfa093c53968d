"""True outcomes after lost responses, crashes and lost objects: what the intents are for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from relay.config.settings import DeliverySettings
from relay.delivery.corrections import Corrections
from relay.delivery.deliver import Deliverer
from relay.delivery.run import LeaseLost
from relay.intents import IntentState
from relay.model import Kind, State
from relay.testing.sandbox.exports import make_export
from tests.delivery.import_path.conftest import World
from tests.delivery.import_path.test_lost_responses import CODE, EXPORT

OTHER = CODE[::-1]


def correct(world: World) -> int:
    """Ask about deliveries with an unknown outcome, as the worker's thread does."""
    deliverer = Deliverer(world.relay.ledger, world.relay.plugins, clock=world.clock)
    settings = world.relay.settings
    return Corrections(settings, world.relay.ledger, deliverer, world.clock).run()


def states(world: World) -> list[IntentState]:
    intents = world.relay.ledger.intents.of_delivery(world.delivery.id, world.delivery.run)
    return [intent.state for intent in intents]


def look_until_finished(world: World) -> None:
    """Attempt the delivery until the object counts as gone."""
    for _ in range(6):
        if world.delivery.state.finished:
            break
        world.clock.forward(timedelta(minutes=5))
        world.attempt()


def test_an_import_leaves_no_open_intent(world: World) -> None:
    world.upload("hello", EXPORT)
    world.until_finished()
    assert states(world) == [IntentState.APPLIED]


def test_the_whole_response_is_stored_and_sent(world: World) -> None:
    world.upload("hello", EXPORT)
    world.until_finished()
    answer = world.delivery.result["answer"]
    assert (answer["func_name"], answer["digest"]) == ("hello", hashlib.sha512(CODE).hexdigest())
    assert {"memory_size", "strategy_config", "status", "image_name"} <= answer.keys()
    (message,) = world.inbox.messages
    assert message.json["data"]["answer"] == answer


@pytest.mark.parametrize("kills", [1, 3, 5])
def test_an_import_that_was_applied_before_kills_is_a_success(world: World, kills: int) -> None:
    """Also after the third crash, when the delivery is no longer tried."""
    world.upload("hello", EXPORT)
    for _ in range(kills - 1):
        world.sandbox.fault(operation="import", drop=True)
    for _ in range(kills):
        world.killed_attempt()
    world.until_finished()
    assert world.delivery.state == State.SUCCEEDED
    assert world.stored("hello") == CODE
    assert world.message_types == ["import.succeeded"]


@pytest.mark.parametrize("loss", ["deleted", "replaced"])
def test_an_applied_import_is_a_success_although_the_object_is_lost(
    world: World, loss: str
) -> None:
    path = world.upload("hello", EXPORT)
    world.killed_attempt()
    if loss == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"something else")
    world.until_finished()
    assert (world.delivery.state, world.delivery.error) == (State.SUCCEEDED, None)
    assert world.delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    assert world.message_types == ["import.succeeded"]


def test_a_half_done_update_whose_object_is_deleted_is_reported_as_partial(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    path = world.upload("hello", make_export("hello", Timeout=77))
    world.sandbox.fault(operation="update_config", status=500, times=None)
    world.attempt()
    assert world.delivery.state == State.PENDING
    path.unlink()
    look_until_finished(world)
    assert world.delivery.state == State.FAILED
    assert world.delivery.error.code in ("import.partial", "outcome.unknown")
    assert world.stored("hello") == CODE


def test_an_applied_update_is_a_success_although_its_object_is_deleted(
    make_world: Callable[..., World],
) -> None:
    """The last call of the update was applied, and its response lost."""
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER, memory_size=256)
    path = world.upload("hello", make_export("hello", Timeout=77))
    world.sandbox.fault(operation="update_config", commit=True, drop=True)
    world.attempt()
    assert world.delivery.state == State.PENDING
    path.unlink()
    look_until_finished(world)
    assert (world.delivery.state, world.delivery.error) == (State.SUCCEEDED, None)
    assert world.delivery.result["how"] == "updated"
    assert world.delivery.result["effect"] == ["code", "configuration"]
    assert world.delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    assert states(world) == [IntentState.APPLIED, IntentState.APPLIED]


def test_an_update_that_was_sent_twice_may_still_be_carried_out_once_more(
    make_world: Callable[..., World],
) -> None:
    """The target shows that one of the calls was carried out, and not which."""
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="update_code", drop=True)
    world.sandbox.fault(operation="update_code", commit=True, drop=True)
    for _ in range(2):
        world.killed_attempt()
    world.until_finished()
    assert states(world)[:2] == [IntentState.REPEATED] * 2
    assert world.delivery.result["effect"] == ["code"]


def test_an_update_whose_responses_were_lost_reports_all_that_it_changed(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", make_export("hello", Timeout=77))
    world.sandbox.fault(operation="update_code", commit=True, drop=True)
    world.sandbox.fault(operation="update_config", commit=True, drop=True)
    world.until_finished()
    assert world.delivery.result["how"] == "updated"
    assert world.delivery.result["effect"] == ["code", "configuration"]
    applied = [call.operation for call in world.sandbox.calls if call.applied]
    assert applied == ["update_code", "update_config"]


@pytest.mark.parametrize("operation", ["import", "update_code", "update_config"])
def test_a_response_that_names_another_function_is_checked_and_reported(
    make_world: Callable[..., World], operation: str
) -> None:
    world = make_world(on_conflict="update")
    if operation != "import":
        world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", make_export("hello", Timeout=77))
    world.sandbox.fault(operation=operation, func_name="test_v1_2")
    world.until_finished()
    assert (world.delivery.state, world.delivery.attempts) == (State.SUCCEEDED, 1)
    (warning,) = world.delivery.result["warnings"]
    assert "hello" in warning["message"]["en"]
    assert "test_v1_2" in warning["message"]["en"]
    assert world.stored("hello") == CODE
    applied = [call.operation for call in world.sandbox.calls if call.applied]
    assert len(applied) == len(set(applied)), "no call is repeated"


def test_a_foreign_function_after_a_crash_is_not_ours(world: World) -> None:
    """Nothing was sent before the crash, so equal code is another's."""
    world.sandbox.hold("hello", code=CODE)
    world.upload("hello", EXPORT)
    world.killed_attempt()
    world.until_finished()
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "unchanged")


def test_a_refused_import_that_crashed_afterwards_is_not_ours(world: World) -> None:
    """The target answered 409, the worker was killed, and the target holds equal code."""
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", status=409, code="FSS.1061")
    world.attempt()
    assert world.delivery.error.code == "conflict.unclear"
    world.sandbox.hold("hello", code=CODE)
    world.until_finished()
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "unchanged")


def test_an_unknown_outcome_is_reported_and_corrected(world: World) -> None:
    """The target takes the import, and cannot be asked for longer than Relay waits."""
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.sandbox.fault(operation="config", status=403, code="FSS.1122", times=None)
    world.attempt()
    assert world.delivery.error.code == "conflict.cannot_ask"
    world.clock.forward(DeliverySettings().give_up_after + timedelta(hours=1))
    world.until_finished()
    assert world.delivery.error.code == "outcome.unknown"
    assert "hello" in world.delivery.error.message.en
    assert states(world) == [IntentState.OPEN]
    assert correct(world) == 0
    world.sandbox.faults.clear()
    world.clock.forward(timedelta(hours=1))
    assert correct(world) == 1
    assert (world.delivery.state, world.delivery.error) == (State.SUCCEEDED, None)
    assert states(world) == [IntentState.APPLIED]
    world.post_messages()
    assert world.message_types == ["import.failed", "import.succeeded"]
    assert correct(world) == 0


def test_an_unknown_outcome_without_effect_is_corrected_too(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", drop=True)
    world.sandbox.fault(operation="config", status=403, code="FSS.1122", times=None)
    world.attempt()
    world.clock.forward(DeliverySettings().give_up_after + timedelta(hours=1))
    world.until_finished()
    world.sandbox.faults.clear()
    world.clock.forward(timedelta(hours=1))
    assert correct(world) == 1
    assert world.delivery.error.code == "outcome.not_applied"
    assert world.sandbox.functions == {}


def test_a_newer_upload_waits_for_the_call_of_an_older_one(
    make_world: Callable[..., World],
) -> None:
    """A late older call must not land over a newer one."""
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="update_code", drop=True)
    world.attempt()
    older = world.delivery
    assert older.state == State.PENDING
    world.put("other", make_export("hello", code={"index.py": b"newer"}))
    world.announce()
    newer = next(one for one in world.deliveries(Kind.IMPORT) if one.id != older.id)
    claim = world.relay.worker.claim(Kind.IMPORT, only=newer.id)
    assert claim is not None
    assert world.relay.worker.run(claim) is None
    waiting = world.relay.ledger.history.delivery(newer.id)
    assert waiting is not None
    assert waiting.state == State.PENDING
    assert waiting.due is not None
    assert waiting.due > world.clock() + timedelta(seconds=1)


@pytest.mark.parametrize("seconds_left", [0.0, 1.0])
def test_the_last_bytes_are_not_sent_without_enough_lease(
    world: World, seconds_left: float
) -> None:
    world.upload("hello", EXPORT)
    deliverer = Deliverer(world.relay.ledger, world.relay.plugins, clock=world.clock)
    with pytest.raises(LeaseLost):
        deliverer.deliver(world.claim(), lease_left=lambda: seconds_left)
    assert world.sandbox.functions == {}
    assert states(world) == []


def test_a_lease_that_ends_while_the_intent_is_recorded_stops_the_call(world: World) -> None:
    world.upload("hello", EXPORT)
    left = iter([60.0, 0.0])
    deliverer = Deliverer(world.relay.ledger, world.relay.plugins, clock=world.clock)
    claim = world.claim()
    with pytest.raises(LeaseLost):
        deliverer.deliver(claim, lease_left=lambda: next(left))
    assert world.sandbox.functions == {}
    assert states(world) == [], "it is closed as never sent"
