"""Each conflict policy with each state of the target and each kind of attempt.

`killed`: the first attempt took effect, and the process crashed before recording the outcome.
`lost`: the import call took effect, and the response was lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relay.model import Delivery, State
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.state import Function

from .conftest import World, code_of

NEW = {"MemorySize": 256, "Timeout": 30, "Description": "as in the YAML"}
SETTINGS = {
    "memory_size": 256,
    "timeout": 30,
    "description": "as in the YAML",
    "user_data": '{"COLOUR": "blue"}',
}
EXPORT = make_export("hello", Environment={"Variables": {"COLOUR": "blue"}}, **NEW)
CODE = code_of(EXPORT)
OTHER = b"made by another client"

ATTEMPTS = ("clean", "lost", "killed")
READ_OPERATIONS = {"import", "config", "list"}


@dataclass(frozen=True)
class Case:
    """The existing function: `code` in `package`; `code` is None if the name is free."""

    label: str
    code: bytes | None
    package: str = "default"


FREE = Case("free", None)
SAME = Case("same", CODE)
DIFFERENT = Case("other", OTHER)
DIFFERENT_PACKAGE = Case("other in another package", OTHER, "team")
SAME_OTHER_PACKAGE = Case("same in another package", CODE, "team")
TAKEN = (SAME, DIFFERENT, DIFFERENT_PACKAGE, SAME_OTHER_PACKAGE)


def deliver(make_world: Callable[..., World], policy: str, case: Case, attempt: str) -> World:
    """Import the export with the policy and the kind of attempt."""
    world = make_world(on_conflict=policy)
    if case.code is not None:
        settings = SETTINGS if policy == "skip" else {}
        world.sandbox.hold("hello", package=case.package, code=case.code, **settings)
    world.upload("hello", EXPORT)
    if attempt == "lost":
        world.sandbox.fault(operation="import", commit=True, drop=True)
    if attempt == "killed":
        world.killed_attempt()
    world.until_finished()
    assert world.message_types == [f"import.{world.delivery.state}"]
    return world


def outcome(delivery: Delivery) -> tuple[State, str | None]:
    """The state with the error code, the reason, or how the import succeeded."""
    if delivery.error:
        return delivery.state, delivery.error.code
    return delivery.state, delivery.reason or (delivery.result or {}).get("how")


def changing_calls(world: World) -> list[tuple[str, str | None]]:
    """The calls that changed the target."""
    return [(call.operation, call.function) for call in world.sandbox.calls if call.applied]


def is_untouched(function: Function) -> bool:
    return function.revision == 1


def is_imported(function: Function) -> bool:
    """Whether code and configuration are those of the export."""
    settings = (function.config["memory_size"], function.config["timeout"])
    variables = function.properties()["Environment"]["Variables"]
    return (
        function.code.path.read_bytes() == CODE
        and (*settings, function.config["description"]) == tuple(NEW.values())
        and variables == {"COLOUR": "blue"}
    )


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("policy", ["skip", "fail", "update", "rename"])
def test_a_free_name_is_imported_once_under_every_policy(
    make_world: Callable[..., World], policy: str, attempt: str
) -> None:
    world = deliver(make_world, policy, FREE, attempt)
    assert changing_calls(world)[0] == ("import", "hello")
    assert set(changing_calls(world)[1:]) <= {("update_config", "hello")}
    assert list(world.sandbox.functions) == ["hello"]
    assert is_imported(world.sandbox.functions["hello"])
    assert world.delivery.state == State.SUCCEEDED
    assert world.delivery.result["func_urn"] == world.sandbox.functions["hello"].urn


@pytest.mark.parametrize("case", [SAME, SAME_OTHER_PACKAGE], ids=lambda case: case.label)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_skip_changes_nothing_if_the_content_is_the_same(
    make_world: Callable[..., World], case: Case, attempt: str
) -> None:
    world = deliver(make_world, "skip", case, attempt)
    assert changing_calls(world) == []
    assert is_untouched(world.sandbox.functions["hello"])
    assert outcome(world.delivery) == (State.SKIPPED, "unchanged")
    assert world.delivery.result["func_urn"] == world.sandbox.functions["hello"].urn


@pytest.mark.parametrize("case", [DIFFERENT, DIFFERENT_PACKAGE], ids=lambda case: case.label)
@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize(
    ("policy", "code"), [("skip", "conflict.other_content"), ("fail", "conflict.taken")]
)
def test_other_content_is_a_failure_and_stays_unchanged(
    make_world: Callable[..., World], policy: str, code: str, case: Case, attempt: str
) -> None:
    world = deliver(make_world, policy, case, attempt)
    assert outcome(world.delivery) == (State.FAILED, code)
    assert changing_calls(world) == []
    function = world.sandbox.functions["hello"]
    assert (function.package, function.code.path.read_bytes()) == (case.package, OTHER)
    assert case.package in world.delivery.error.message.en
    assert case.package in world.delivery.error.message.zh


@pytest.mark.parametrize("case", [SAME, SAME_OTHER_PACKAGE], ids=lambda case: case.label)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_fail_fails_for_the_same_content_too(
    make_world: Callable[..., World], case: Case, attempt: str
) -> None:
    world = deliver(make_world, "fail", case, attempt)
    assert changing_calls(world) == []
    assert outcome(world.delivery) == (State.FAILED, "conflict.taken")


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.label)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_update_replaces_code_and_configuration_and_publishes_nothing(
    make_world: Callable[..., World], case: Case, attempt: str
) -> None:
    world = deliver(make_world, "update", case, attempt)
    assert outcome(world.delivery) == (State.SUCCEEDED, "updated")
    function = world.sandbox.functions["hello"]
    assert is_imported(function)
    assert function.package == case.package
    assert world.delivery.result["func_urn"] == function.urn
    assert world.delivery.result["package"] == case.package
    codes = changing_calls(world).count(("update_code", "hello"))
    assert codes == (0 if case.code == CODE else 1)
    allowed = {*READ_OPERATIONS, "update_code", "update_config"}
    assert {call.operation for call in world.sandbox.calls} <= allowed, "a version was published"


def copy_of(name: str, delivery: Delivery) -> str:
    """Return the name that `rename` created; it begins with `name`."""
    copy = str((delivery.result or {})["func_name"])
    assert re.fullmatch(rf"{name}-{delivery.created:%Y%m%d-%H%M%S}-[0-9a-f]{{6}}", copy)
    return copy


@pytest.mark.parametrize("case", TAKEN, ids=lambda case: case.label)
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_rename_creates_a_copy_beside_the_existing_function(
    make_world: Callable[..., World], case: Case, attempt: str
) -> None:
    world = deliver(make_world, "rename", case, attempt)
    copy = copy_of("hello", world.delivery)
    assert changing_calls(world) == [("import", copy)]
    assert is_imported(world.sandbox.functions[copy])
    assert is_untouched(world.sandbox.functions["hello"])
    assert world.sandbox.functions["hello"].code.path.read_bytes() == case.code
    assert world.delivery.state == State.SUCCEEDED
    assert world.delivery.result["func_name"] == copy
    assert world.delivery.result["func_urn"] == world.sandbox.functions[copy].urn


@pytest.mark.parametrize("operation", ["update_code", "update_config"])
@pytest.mark.parametrize("commit", [True, False], ids=["applied", "not applied"])
@pytest.mark.parametrize("attempt", ["lost", "killed"])
def test_an_interrupted_update_is_completed(
    make_world: Callable[..., World], operation: str, commit: bool, attempt: str
) -> None:
    """New code with the old configuration is not a final state."""
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation=operation, commit=commit, drop=True)
    if attempt == "killed":
        world.killed_attempt()
    assert outcome(world.until_finished()) == (State.SUCCEEDED, "updated")
    assert is_imported(world.sandbox.functions["hello"])
    assert changing_calls(world).count(("update_code", "hello")) == 1
    assert world.message_types == ["import.succeeded"]


@pytest.mark.parametrize("commit", [True, False], ids=["applied", "not applied"])
@pytest.mark.parametrize("attempt", ["lost", "killed"])
def test_a_renamed_import_whose_response_is_lost_exists_once(
    make_world: Callable[..., World], commit: bool, attempt: str
) -> None:
    world = make_world(on_conflict="rename")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import")  # the first call, a clear 409
    world.sandbox.fault(operation="import", commit=commit, drop=True)
    if attempt == "killed":
        world.killed_attempt()
    delivery = world.until_finished()
    copy = copy_of("hello", delivery)
    assert changing_calls(world) == [("import", copy)]
    assert (delivery.state, delivery.result["func_name"]) == (State.SUCCEEDED, copy)
    assert set(world.sandbox.functions) == {"hello", copy}


def test_a_long_name_is_renamed_to_sixty_characters(make_world: Callable[..., World]) -> None:
    name = "a" * 60
    world = make_world(on_conflict="rename")
    world.sandbox.hold(name, code=OTHER)
    world.upload(name)
    delivery = world.until_finished()
    copy = copy_of("a" * 37, delivery)
    assert len(copy) == 60
    assert set(world.sandbox.functions) == {name, copy}


def test_a_failed_import_retriggered_with_update_replaces_the_function(
    make_world: Callable[..., World],
) -> None:
    world = deliver(make_world, "skip", DIFFERENT, "clean")
    world.relay.operations.retrigger(world.delivery.id, {"on_conflict": "update"})
    assert outcome(world.until_finished()) == (State.SUCCEEDED, "updated")
    assert is_imported(world.sandbox.functions["hello"])
    assert world.message_types == ["import.failed", "import.succeeded"]
