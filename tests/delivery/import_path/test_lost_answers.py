"""Did it happen? After every lost answer the target is asked, and told is what it really holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.model import State
from relay.testing.sandbox.exports import make_export

from .conftest import World, code_of, until

EXPORT = make_export("hello")
CODE = code_of(EXPORT)

LOOK = ("config", "list")
"""How it is asked whether a name is free."""
LOST: dict[str, dict[str, Any]] = {
    "reset": {"drop": True},
    "408": {"status": 408, "code": "APIGW.0308"},
    "500": {"status": 500},
    "502": {"status": 502, "code": "APIGW.0201"},
    "504": {"status": 504},
}
"""How an answer says nothing about what happened."""


def lost(*more: str) -> Any:
    return pytest.mark.parametrize("fault", [*LOST, *more])


def operations(world: World) -> list[str]:
    return [call.operation for call in world.sandbox.calls if call.operation != "token"]


def effects(world: World) -> int:
    return sum(call.applied for call in world.sandbox.calls)


def check_success(world: World, how: str) -> None:
    """One effect, one success, one message, and the URN of what is really there."""
    delivery = world.delivery
    assert (delivery.state, delivery.error) == (State.SUCCEEDED, None)
    assert delivery.result["how"] == how
    assert delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    assert world.stored("hello") == CODE
    assert effects(world) == 1
    assert world.told == ["import.succeeded"]


@lost()
def test_what_happened_is_a_success_though_its_answer_was_lost(world: World, fault: str) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, **LOST[fault])
    world.until_finished()
    check_success(world, "already there")
    assert operations(world) == [*LOOK, "import", "config"]
    assert world.delivery.attempts == 1


@lost()
def test_what_did_not_happen_is_tried_again(world: World, fault: str) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", **LOST[fault])
    world.attempt()
    assert world.delivery.state == State.PENDING
    assert world.told == []
    world.until_finished()
    check_success(world, "created")
    assert world.delivery.attempts == 2


def test_an_answer_that_comes_too_late_is_asked_for(make_world: Callable[..., World]) -> None:
    world = make_world(read_timeout="300ms")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", delay=30)
    world.until_finished()
    check_success(world, "already there")
    assert world.delivery.attempts == 1


def test_an_answer_that_says_nothing_readable_is_asked_about(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", status=200, commit=True)
    world.until_finished()
    check_success(world, "already there")


def test_an_import_that_acts_after_we_asked_is_recognised_next_time(
    make_world: Callable[..., World],
) -> None:
    """The slow target took the body, was asked in vain, and acted only then."""
    world = make_world(read_timeout="300ms")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", trickle=1_200)
    world.attempt()
    assert world.delivery.state == State.PENDING
    assert world.sandbox.functions == {}
    until(lambda: "hello" in world.sandbox.functions)
    world.until_finished()
    check_success(world, "already there")
    assert len(world.imports) == 1


def test_an_import_that_acts_after_the_next_one_changes_nothing(
    make_world: Callable[..., World],
) -> None:
    world = make_world(read_timeout="300ms")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", trickle=600)
    world.attempt()
    world.until_finished()
    until(lambda: all(call.finished for call in world.imports))
    check_success(world, "created")
    assert [(call.applied, call.status) for call in world.imports] == [(False, 409), (True, 200)]


@lost("503")
@pytest.mark.parametrize("commit", [True, False], ids=["acted on", "not acted on"])
def test_a_question_without_an_answer_is_asked_again(
    world: World, fault: str, commit: bool
) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=commit, drop=True)
    # Twice: where the connection broke, it is asked once more at once.
    world.sandbox.fault(operation="config", times=2, **LOST.get(fault, {"status": 503}))
    world.attempt()
    assert world.delivery.state == State.PENDING
    world.until_finished()
    check_success(world, "already there" if commit else "created")


def test_a_question_whose_connection_broke_is_asked_again_at_once(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="config", status=200, drop=True)
    world.until_finished()
    check_success(world, "created")
    assert world.delivery.attempts == 1


@pytest.mark.parametrize(
    ("status", "code"), [(403, "FSS.1122"), (404, "APIGW.0101"), (401, "APIGW.0301")]
)
def test_a_question_that_is_refused_does_not_make_a_failure_of_what_happened(
    world: World, status: int, code: str
) -> None:
    """That we may not look now says nothing about the import; a moment later we may."""
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.sandbox.fault(operation="config", status=status, code=code)
    world.until_finished()
    check_success(world, "already there")


def test_a_question_that_is_refused_for_good_is_told_as_what_is_not_known(
    make_world: Callable[..., World],
) -> None:
    """Not as a refusal of the import, which happened."""
    world = make_world(attempts=3)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.sandbox.fault(operation="config", status=403, code="FSS.1122", times=None)
    world.until_finished()
    assert world.delivery.attempts == 3
    assert world.delivery.error.code == "conflict.cannot_ask"
    assert effects(world) == 1


def test_a_name_that_is_taken_but_not_shown_is_asked_about_later(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", status=409, code="FSS.1061")
    world.attempt()
    assert world.delivery.state == State.PENDING
    assert world.delivery.error.code == "conflict.unclear"
    world.until_finished()
    check_success(world, "created")


@pytest.mark.parametrize("commit", [True, False], ids=["acted on", "not acted on"])
def test_a_409_on_a_repeated_attempt_is_held_against_what_is_there(
    world: World, commit: bool
) -> None:
    """The second attempt asks first, sees nothing yet, and runs into the first one's effect."""
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", drop=True)
    world.attempt()
    if commit:
        world.sandbox.hold("hello", code=CODE)
    else:
        world.sandbox.hold("hello", code=CODE[::-1])  # as long, but not the same
    world.sandbox.fault(operation="config", status=404, code="FSS.1051")
    world.sandbox.fault(operation="list", status=200)
    world.until_finished()
    expected = (State.SUCCEEDED, None) if commit else (State.FAILED, "conflict.other_content")
    error = world.delivery.error
    assert (world.delivery.state, error and error.code) == expected
    assert effects(world) == 0


def test_what_somebody_else_put_there_meanwhile_is_not_taken_for_ours(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", drop=True)
    world.attempt()
    world.sandbox.hold("hello", code=CODE[::-1])
    world.until_finished()
    assert world.delivery.error.code == "conflict.other_content"
    assert world.stored("hello") == CODE[::-1]
    assert world.told == ["import.failed"]


def test_a_failure_that_is_certain_is_not_asked_about(world: World) -> None:
    world.upload("hello", make_export("hello", runtime="Cobol85"))
    world.until_finished()
    assert (world.delivery.state, world.delivery.attempts) == (State.FAILED, 1)
    assert operations(world) == [*LOOK, "import"]
    assert world.sandbox.functions == {}


def test_a_second_run_after_a_success_finds_it_unchanged(world: World) -> None:
    world.upload("hello", EXPORT)
    world.until_finished()
    world.relay.operations.retrigger(world.delivery.id)
    world.until_finished()
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "unchanged")
    assert effects(world) == 1
    assert world.told == ["import.succeeded", "import.skipped"]


def test_the_last_attempt_asks_too(make_world: Callable[..., World]) -> None:
    """Giving up is a statement as well: it may not be false."""
    world = make_world(attempts=2)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", status=500)
    world.sandbox.fault(operation="import", status=500, commit=True)
    world.until_finished()
    check_success(world, "already there")
    assert world.delivery.attempts == 2
