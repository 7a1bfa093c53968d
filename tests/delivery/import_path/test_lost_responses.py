"""After each lost response the function is looked up, and the outcome is what really exists."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from relay.model import State
from relay.testing.sandbox.exports import make_export

from .conftest import World, code_of, until

EXPORT = make_export("hello")
CODE = code_of(EXPORT)

LOOKUP = ("config", "list")
"""The calls of a lookup."""
LOST_RESPONSES: dict[str, dict[str, Any]] = {
    "reset": {"drop": True},
    "408": {"status": 408, "code": "APIGW.0308"},
    "500": {"status": 500},
    "502": {"status": 502, "code": "APIGW.0201"},
    "504": {"status": 504},
}
"""Responses that do not show whether the call took effect."""


def lost_responses(*more: str) -> Any:
    return pytest.mark.parametrize("fault", [*LOST_RESPONSES, *more])


def operations(world: World) -> list[str]:
    return [call.operation for call in world.sandbox.calls if call.operation != "token"]


def effects(world: World) -> int:
    return sum(call.applied for call in world.sandbox.calls)


def check_success(world: World, how: str) -> None:
    """Check for a single effect, a success, a message, and the URN of the existing function."""
    delivery = world.delivery
    assert (delivery.state, delivery.error) == (State.SUCCEEDED, None)
    assert delivery.result["how"] == how
    assert delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    assert world.stored("hello") == CODE
    assert effects(world) == 1
    assert world.message_types == ["import.succeeded"]


@lost_responses()
def test_an_applied_import_with_a_lost_response_is_a_success(world: World, fault: str) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, **LOST_RESPONSES[fault])
    world.until_finished()
    check_success(world, "already there")
    assert operations(world) == [*LOOKUP, "import", "config"]
    assert world.delivery.attempts == 1


@lost_responses()
def test_an_import_that_was_not_applied_is_retried(world: World, fault: str) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", **LOST_RESPONSES[fault])
    world.attempt()
    assert world.delivery.state == State.PENDING
    assert world.message_types == []
    world.until_finished()
    check_success(world, "created")
    assert world.delivery.attempts == 2


def test_a_response_after_the_timeout_leads_to_a_lookup(make_world: Callable[..., World]) -> None:
    world = make_world(read_timeout="300ms")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", delay=30)
    world.until_finished()
    check_success(world, "already there")
    assert world.delivery.attempts == 1


def test_an_unreadable_response_leads_to_a_lookup(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", status=200, commit=True)
    world.until_finished()
    check_success(world, "already there")


def test_an_import_applied_after_the_lookup_is_recognised_in_the_next_attempt(
    make_world: Callable[..., World],
) -> None:
    """The slow target receives the body, answers a lookup, and applies the import only then."""
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


def test_an_import_applied_after_the_next_attempt_changes_nothing(
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


@lost_responses("503")
@pytest.mark.parametrize("commit", [True, False], ids=["applied", "not applied"])
def test_a_failed_lookup_is_repeated_in_the_next_attempt(
    world: World, fault: str, commit: bool
) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=commit, drop=True)
    # Twice: after a broken connection, the lookup is repeated at once.
    world.sandbox.fault(operation="config", times=2, **LOST_RESPONSES.get(fault, {"status": 503}))
    world.attempt()
    assert world.delivery.state == State.PENDING
    world.until_finished()
    check_success(world, "already there" if commit else "created")


def test_a_lookup_with_a_broken_connection_is_repeated_at_once(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="config", status=200, drop=True)
    world.until_finished()
    check_success(world, "created")
    assert world.delivery.attempts == 1


@pytest.mark.parametrize(
    ("status", "code"), [(403, "FSS.1122"), (404, "APIGW.0101"), (401, "APIGW.0301")]
)
def test_a_refused_lookup_does_not_turn_an_applied_import_into_a_failure(
    world: World, status: int, code: str
) -> None:
    """A refused lookup shows nothing about the import; a later lookup is allowed."""
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.sandbox.fault(operation="config", status=status, code=code)
    world.until_finished()
    check_success(world, "already there")


def test_a_permanently_refused_lookup_is_reported_as_unknown(
    make_world: Callable[..., World],
) -> None:
    """It is not reported as a refusal of the import, which was applied."""
    world = make_world(attempts=3)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", commit=True, drop=True)
    world.sandbox.fault(operation="config", status=403, code="FSS.1122", times=None)
    for _ in range(5):
        world.attempt()
        world.clock.forward(timedelta(hours=4))
    assert world.delivery.state == State.PENDING
    assert world.delivery.error.code == "conflict.cannot_ask"
    assert "functiongraph:function:getFunctionConfig" in world.delivery.error.hint.en
    world.clock.forward(timedelta(days=2))
    for _ in range(3):
        if not world.delivery.state.finished:
            world.clock.forward(timedelta(minutes=10))
            world.attempt()
    assert world.delivery.error.code == "outcome.unknown"
    assert "hello" in world.delivery.error.message.en
    assert effects(world) == 1


def test_a_taken_name_that_no_lookup_finds_is_retried(world: World) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", status=409, code="FSS.1061")
    world.attempt()
    assert world.delivery.state == State.PENDING
    assert world.delivery.error.code == "conflict.unclear"
    world.until_finished()
    check_success(world, "created")


@pytest.mark.parametrize("commit", [True, False], ids=["applied", "not applied"])
def test_a_409_in_a_repeated_attempt_is_compared_with_the_existing_function(
    world: World, commit: bool
) -> None:
    """The second lookup finds nothing yet; the second call meets the effect of the first."""
    world.relay.ledger.digests.confirm_sha512("prod", "zip")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", drop=True)
    world.attempt()
    if commit:
        world.sandbox.hold("hello", code=CODE)
    else:
        world.sandbox.hold("hello", code=CODE[::-1])  # the same length, but other code
    world.sandbox.fault(operation="config", status=404, code="FSS.1051")
    world.sandbox.fault(operation="list", status=200)
    world.until_finished()
    expected = (State.SUCCEEDED, None) if commit else (State.FAILED, "conflict.other_content")
    error = world.delivery.error
    assert (world.delivery.state, error and error.code) == expected
    assert effects(world) == 0


def test_before_the_digests_of_a_target_are_known_an_equal_size_counts_with_a_warning(
    world: World,
) -> None:
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", drop=True)
    world.attempt()
    world.sandbox.hold("hello", code=CODE[::-1])
    world.until_finished()
    assert world.delivery.state == State.SUCCEEDED
    warnings = [warning["code"] for warning in world.delivery.result["warnings"]]
    assert warnings == ["outcome.by_size"]


def test_a_foreign_function_created_meanwhile_is_not_mistaken_for_ours(world: World) -> None:
    world.relay.ledger.digests.confirm_sha512("prod", "zip")
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", drop=True)
    world.attempt()
    world.sandbox.hold("hello", code=CODE[::-1])
    world.until_finished()
    assert world.delivery.error.code == "conflict.other_content"
    assert world.stored("hello") == CODE[::-1]
    assert world.message_types == ["import.failed"]


def test_a_certain_failure_leads_to_no_lookup(world: World) -> None:
    world.upload("hello", make_export("hello", Runtime="Cobol85"))
    world.until_finished()
    assert (world.delivery.state, world.delivery.attempts) == (State.FAILED, 1)
    assert operations(world) == [*LOOKUP, "import"]
    assert world.sandbox.functions == {}


def test_a_second_run_after_a_success_finds_it_unchanged(world: World) -> None:
    world.upload("hello", EXPORT)
    world.until_finished()
    world.relay.operations.retrigger(world.delivery.id)
    world.until_finished()
    assert (world.delivery.state, world.delivery.reason) == (State.SKIPPED, "unchanged")
    assert effects(world) == 1
    assert world.message_types == ["import.succeeded", "import.skipped"]


def test_the_last_attempt_looks_the_function_up_too(make_world: Callable[..., World]) -> None:
    """A final failure is a result too, and must not be false."""
    world = make_world(attempts=2)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import", status=500)
    world.sandbox.fault(operation="import", status=500, commit=True)
    world.until_finished()
    check_success(world, "already there")
    assert world.delivery.attempts == 2


def test_an_unusable_proxy_ends_neither_the_import_nor_the_messages(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong variable of the environment must not lose an upload or what the team is told."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "socks5://user:secret@127.0.0.1:1")
    world = make_world()
    world.upload("hello")
    world.attempt()
    delivery = world.delivery
    assert (delivery.state, delivery.error.code) == (State.PENDING, "outbound.proxy")
    assert "http_proxy" in delivery.error.message.en
    assert "secret" not in str(delivery.error)
    assert world.sandbox.calls == []
