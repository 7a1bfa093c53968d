"""True outcomes where the digest does not tell: the target reports another digest than SHA-512."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from relay.config.settings import DeliverySettings
from relay.intents import IntentState
from relay.model import Delivery, Kind, State
from relay.testing.sandbox.exports import make_export
from tests.delivery.import_path.conftest import World
from tests.delivery.import_path.test_intents import OTHER, correct, look_until_finished, states
from tests.delivery.import_path.test_lost_responses import CODE, EXPORT

DENIED = {"operation": "config", "status": 403, "code": "FSS.1122", "times": None}


def md5(sha512: str) -> str:
    """Return the digest that this target reports."""
    return hashlib.md5(sha512.encode()).hexdigest()


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def updated(make_world: Callable[..., World]) -> World:
    """The code of a function was updated, and the response lost."""
    world = make_world(on_conflict="update", digest_of=md5)
    world.sandbox.hold("hello", code=OTHER)
    world.path = world.upload("hello", EXPORT)
    world.sandbox.fault(operation="update_code", commit=True, drop=True)
    return world


def codes(delivery: Delivery) -> list[str]:
    return [warning["code"] for warning in delivery.result.get("warnings", [])]


def test_an_applied_update_is_not_gone_because_its_object_is(updated: World) -> None:
    updated.attempt()
    updated.path.unlink()
    look_until_finished(updated)
    assert (updated.delivery.state, updated.delivery.error.code) == (State.FAILED, "import.partial")
    assert updated.delivery.result["effect"] == ["code"]


def test_an_update_that_was_not_applied_is_gone_with_its_object(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update", digest_of=md5)
    world.sandbox.hold("hello", code=OTHER)
    path = world.upload("hello", EXPORT)
    world.sandbox.fault(operation="update_code", drop=True)
    world.attempt()
    path.unlink()
    look_until_finished(world)
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "gone")


def test_an_applied_update_is_known_after_three_crashes(updated: World) -> None:
    updated.sandbox.faults.clear()
    for _ in range(3):
        updated.killed_attempt()
        updated.sandbox.fault(operation="update_code", drop=True)
    updated.until_finished()
    assert updated.delivery.state == State.SUCCEEDED or updated.delivery.result["effect"]


def test_retries_of_an_update_do_not_send_the_code_again(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update", digest_of=md5)
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", make_export("hello", Timeout=77))
    world.sandbox.fault(operation="update_config", status=500)
    world.until_finished()
    assert world.delivery.result["effect"] == ["code", "configuration"]
    sent = [call.operation for call in world.sandbox.calls if call.operation == "update_code"]
    assert sent == ["update_code"]


def test_an_update_to_known_code_changes_nothing(make_world: Callable[..., World]) -> None:
    world = make_world(on_conflict="update", digest_of=md5)
    world.upload("first", make_export("first"))
    world.until_finished()
    world.sandbox.hold("hello", code=CODE)
    world.upload("hello", EXPORT)
    while world.deliveries(Kind.IMPORT)[0].state == State.PENDING:
        world.attempt()
    assert world.deliveries(Kind.IMPORT)[0].result["how"] == "unchanged"
    assert "update_code" not in [call.operation for call in world.sandbox.calls]


def test_a_create_whose_name_could_not_be_looked_up_is_unknown_and_not_another_function(
    make_world: Callable[..., World],
) -> None:
    world = make_world(digest_of=md5)
    world.upload("hello", EXPORT)
    world.sandbox.fault(**DENIED)
    world.sandbox.fault(operation="list", status=403, code="FSS.1122", times=None)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.attempt()
    world.sandbox.faults.clear()
    world.clock.forward(timedelta(minutes=10))
    world.until_finished()
    assert world.delivery.error.code == "outcome.unknown"
    assert "does not tell" in world.delivery.error.message.en
    assert states(world) == [IntentState.OPEN]


@pytest.mark.parametrize("modified", ["2020-01-01T00:00:00Z", "2020-01-01 00:00:00"])
def test_a_function_with_an_earlier_time_is_unknown(
    make_world: Callable[..., World], modified: str
) -> None:
    """The name was free before, so the clock of the target may be wrong."""
    world = make_world(digest_of=md5)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", drop=True)
    world.attempt()
    world.sandbox.hold("hello", code=CODE)
    world.sandbox.configure("hello", last_modified=modified)
    world.clock.forward(timedelta(minutes=10))
    world.until_finished()
    assert world.delivery.error.code == "outcome.unknown"


def test_a_response_with_another_digest_than_before_is_a_success_with_a_warning(
    make_world: Callable[..., World],
) -> None:
    """The target changed its rule; it must not make each import fail."""
    rule = [str]

    def digest_of(sha512: str) -> str:
        return rule[-1](sha512)

    world = make_world(digest_of=digest_of)
    world.upload("first", make_export("first"))
    world.until_finished()
    rule.append(md5)
    for name, expected in (("hello", ["import.other_function"]), ("third", [])):
        world.upload(name, make_export(name))
        while world.deliveries(Kind.IMPORT)[0].state == State.PENDING:
            world.attempt()
        delivery = world.deliveries(Kind.IMPORT)[0]
        assert (delivery.state, delivery.result["how"]) == (State.SUCCEEDED, "created")
        assert codes(delivery) == expected
        assert delivery.attempts == 1


def test_an_unknown_outcome_is_corrected_after_a_newer_import(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.sandbox.fault(**DENIED)
    world.attempt()
    world.clock.forward(DeliverySettings().give_up_after + timedelta(hours=1))
    world.until_finished()
    older = world.delivery
    assert older.error.code == "outcome.unknown"
    assert older.result["effect"] == []
    world.sandbox.faults.clear()
    world.upload("hello", make_export("hello", code={"index.py": b"newer"}))
    while any(d.state == State.PENDING for d in world.deliveries(Kind.IMPORT)):
        world.attempt()
    assert correct(world) == 1
    corrected = world.relay.ledger.history.delivery(older.id)
    assert (corrected.state, corrected.error) == (State.SUCCEEDED, None)
    assert correct(world) == 0


def test_an_unknown_update_that_was_overwritten_says_so(
    make_world: Callable[..., World],
) -> None:
    salt = [""]
    world = make_world(on_conflict="update", digest_of=lambda sha512: md5(sha512 + salt[0]))
    world.sandbox.hold("hello", code=b"of another length")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="update_code", drop=True)
    world.attempt()
    world.sandbox.fault(**DENIED)
    world.clock.forward(DeliverySettings().give_up_after + timedelta(hours=1))
    world.until_finished()
    older = world.delivery
    assert older.error.code == "outcome.unknown"
    world.sandbox.faults.clear()
    salt[0] = "another rule: nothing shows whether the code was changed"
    world.upload("hello", make_export("hello", code={"index.py": b"newer"}))
    while any(d.state == State.PENDING for d in world.deliveries(Kind.IMPORT)):
        world.attempt()
    assert correct(world) == 1
    corrected = world.relay.ledger.history.delivery(older.id)
    assert corrected.error.code == "outcome.overwritten"
    assert correct(world) == 0


def test_a_refused_question_does_not_mark_the_target_down(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.sandbox.fault(**DENIED)
    for _ in range(15):
        world.attempt()
        world.clock.forward(timedelta(minutes=2))
    assert world.delivery.error.code == "conflict.cannot_ask"
    world.post_messages()
    assert "target.down" not in world.message_types


@pytest.mark.parametrize("policy", ["skip", "update", "fail"])
def test_a_taken_name_that_may_not_be_read_is_said_to_be_taken(
    make_world: Callable[..., World], policy: str
) -> None:
    world = make_world(on_conflict=policy)
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(**DENIED)
    world.until_finished()
    assert world.delivery.error.code == "conflict.taken"
    assert "getFunctionConfig" in world.delivery.error.hint.en
    assert world.stored("hello") == OTHER


def test_a_taken_name_that_may_not_be_read_can_be_renamed(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="rename")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(**DENIED)
    assert world.until_finished().result["how"] == "renamed"
    assert world.stored("hello") == OTHER


def test_a_function_in_another_package_is_updated_with_a_warning(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", package="billing", code=OTHER)
    world.upload("hello", EXPORT)
    assert codes(world.until_finished()) == ["import.other_package"]


def test_the_effect_is_part_of_every_result(world: World) -> None:
    world.upload("hello", EXPORT)
    assert world.until_finished().result["effect"] == ["code", "configuration"]


def test_a_pending_delivery_shows_what_it_has_changed(make_world: Callable[..., World]) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", make_export("hello", Timeout=77))
    world.sandbox.fault(operation="update_config", status=429)
    world.attempt()
    assert world.delivery.state == State.PENDING
    assert world.delivery.result["effect"] == ["code"]
