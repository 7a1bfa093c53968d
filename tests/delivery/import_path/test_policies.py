"""Each conflict policy, whatever the target holds, however the attempt went: outcome and effects.

`killed` means that the first attempt had all its effects and its process died before it could
write down its outcome; `lost` that the answer of the import call got lost after it was acted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relay.model import Delivery, State
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.state import Function

from .conftest import World, code_of

NEW = {"MemorySize": 256, "Timeout": 30, "Description": "as in the YAML"}
EXPORT = make_export("hello", Environment={"Variables": {"COLOUR": "blue"}}, **NEW)
CODE = code_of(EXPORT)
OTHER = b"made by somebody else"

WAYS = ("clean", "lost", "killed")
READING = {"import", "config", "list"}


@dataclass(frozen=True)
class Case:
    """What the target holds under the name before: `code` in `package`; None: nothing."""

    word: str
    code: bytes | None
    package: str = "default"


FREE = Case("free", None)
SAME = Case("same", CODE)
ELSE = Case("other", OTHER)
AWAY = Case("other in another package", OTHER, "team")
SAME_AWAY = Case("same in another package", CODE, "team")


def deliver(make_world: Callable[..., World], policy: str, case: Case, way: str) -> World:
    """Brings the export, by the policy and that way, to a target in that case."""
    world = make_world(on_conflict=policy)
    if case.code is not None:
        world.sandbox.hold("hello", package=case.package, code=case.code)
    world.upload("hello", EXPORT)
    if way == "lost":
        world.sandbox.fault(operation="import", commit=True, drop=True)
    if way == "killed":
        world.killed_attempt()
    world.until_finished()
    assert world.told == [f"import.{world.delivery.state}"]
    return world


def outcome(delivery: Delivery) -> tuple[State, str | None]:
    """The state, and its reason, its error's code, or how it succeeded."""
    if delivery.error:
        return delivery.state, delivery.error.code
    return delivery.state, delivery.reason or (delivery.result or {}).get("how")


def changed(world: World) -> list[tuple[str, str | None]]:
    """The calls that changed something at the target."""
    return [(call.operation, call.function) for call in world.sandbox.calls if call.applied]


def is_untouched(function: Function) -> bool:
    return function.revision == 1


def is_brought(function: Function) -> bool:
    """Whether code and configuration are the export's."""
    settings = (function.config["memory_size"], function.config["timeout"])
    variables = function.properties()["Environment"]["Variables"]
    return (
        function.code.path.read_bytes() == CODE
        and (*settings, function.config["description"]) == tuple(NEW.values())
        and variables == {"COLOUR": "blue"}
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["skip", "fail", "update", "rename"])
def test_a_free_name_is_imported_once_under_every_policy(
    make_world: Callable[..., World], policy: str, way: str
) -> None:
    world = deliver(make_world, policy, FREE, way)
    assert changed(world)[0] == ("import", "hello")
    assert set(changed(world)[1:]) <= {("update_config", "hello")}
    assert list(world.sandbox.functions) == ["hello"]
    assert is_brought(world.sandbox.functions["hello"])
    assert world.delivery.state == State.SUCCEEDED
    assert world.delivery.result["func_urn"] == world.sandbox.functions["hello"].urn


@pytest.mark.parametrize("case", [SAME, SAME_AWAY], ids=lambda case: case.word)
@pytest.mark.parametrize("way", WAYS)
def test_skip_leaves_the_same_content_alone(
    make_world: Callable[..., World], case: Case, way: str
) -> None:
    world = deliver(make_world, "skip", case, way)
    assert changed(world) == []
    assert is_untouched(world.sandbox.functions["hello"])
    # After a kill, whose the equal code is cannot be told any more: that it is there can.
    killed = (State.SUCCEEDED, "already there")
    expected = killed if way == "killed" else (State.SKIPPED, "unchanged")
    assert outcome(world.delivery) == expected
    assert world.delivery.result["func_urn"] == world.sandbox.functions["hello"].urn


@pytest.mark.parametrize("case", [ELSE, AWAY], ids=lambda case: case.word)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("policy", "code"), [("skip", "conflict.other_content"), ("fail", "conflict.taken")]
)
def test_other_content_is_a_failure_and_stays_as_it_was(
    make_world: Callable[..., World], policy: str, code: str, case: Case, way: str
) -> None:
    world = deliver(make_world, policy, case, way)
    assert outcome(world.delivery) == (State.FAILED, code)
    assert changed(world) == []
    held = world.sandbox.functions["hello"]
    assert (held.package, held.code.path.read_bytes()) == (case.package, OTHER)
    assert case.package in world.delivery.error.message.en
    assert case.package in world.delivery.error.message.zh


@pytest.mark.parametrize("case", [SAME, SAME_AWAY], ids=lambda case: case.word)
@pytest.mark.parametrize("way", WAYS)
def test_fail_fails_for_the_same_content_too(
    make_world: Callable[..., World], case: Case, way: str
) -> None:
    world = deliver(make_world, "fail", case, way)
    assert changed(world) == []
    # As for skip: with the same code, "it is there" is all that is known after a kill.
    killed = (State.SUCCEEDED, "already there")
    expected = killed if way == "killed" else (State.FAILED, "conflict.taken")
    assert outcome(world.delivery) == expected


@pytest.mark.parametrize("case", [SAME, ELSE, AWAY, SAME_AWAY], ids=lambda case: case.word)
@pytest.mark.parametrize("way", WAYS)
def test_update_brings_code_and_configuration_and_publishes_nothing(
    make_world: Callable[..., World], case: Case, way: str
) -> None:
    world = deliver(make_world, "update", case, way)
    assert outcome(world.delivery) == (State.SUCCEEDED, "updated")
    held = world.sandbox.functions["hello"]
    assert is_brought(held)
    assert held.package == case.package
    assert world.delivery.result["func_urn"] == held.urn
    assert world.delivery.result["package"] == case.package
    codes = changed(world).count(("update_code", "hello"))
    assert codes == (0 if case.code == CODE else 1)
    operations = {call.operation for call in world.sandbox.calls}
    assert operations <= {*READING, "update_code", "update_config"}, "no version is published"


@pytest.mark.parametrize("case", [SAME, ELSE, AWAY, SAME_AWAY], ids=lambda case: case.word)
@pytest.mark.parametrize("way", WAYS)
def test_rename_puts_a_copy_beside_what_is_there(
    make_world: Callable[..., World], case: Case, way: str
) -> None:
    world = deliver(make_world, "rename", case, way)
    copy = f"hello-{world.delivery.created:%Y%m%d-%H%M%S}"
    assert changed(world) == [("import", copy)]
    assert is_brought(world.sandbox.functions[copy])
    assert is_untouched(world.sandbox.functions["hello"])
    assert world.sandbox.functions["hello"].code.path.read_bytes() == case.code
    assert world.delivery.state == State.SUCCEEDED
    assert world.delivery.result["func_name"] == copy
    assert world.delivery.result["func_urn"] == world.sandbox.functions[copy].urn


@pytest.mark.parametrize("operation", ["update_code", "update_config"])
@pytest.mark.parametrize("commit", [True, False], ids=["acted on", "not acted on"])
@pytest.mark.parametrize("way", ["lost", "killed"])
def test_an_update_that_breaks_in_its_middle_is_brought_to_its_end(
    make_world: Callable[..., World], operation: str, commit: bool, way: str
) -> None:
    """Code without its configuration is no outcome."""
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation=operation, commit=commit, drop=True)
    if way == "killed":
        world.killed_attempt()
    assert outcome(world.until_finished()) == (State.SUCCEEDED, "updated")
    assert is_brought(world.sandbox.functions["hello"])
    assert changed(world).count(("update_code", "hello")) == 1
    assert world.told == ["import.succeeded"]


@pytest.mark.parametrize("commit", [True, False], ids=["acted on", "not acted on"])
@pytest.mark.parametrize("way", ["lost", "killed"])
def test_a_renamed_import_whose_answer_is_lost_is_there_once(
    make_world: Callable[..., World], commit: bool, way: str
) -> None:
    world = make_world(on_conflict="rename")
    world.sandbox.hold("hello", code=OTHER)
    world.upload("hello", EXPORT)
    world.sandbox.fault(operation="import")  # the first call, a clear 409
    world.sandbox.fault(operation="import", commit=commit, drop=True)
    if way == "killed":
        world.killed_attempt()
    delivery = world.until_finished()
    copy = f"hello-{delivery.created:%Y%m%d-%H%M%S}"
    assert changed(world) == [("import", copy)]
    assert (delivery.state, delivery.result["func_name"]) == (State.SUCCEEDED, copy)
    assert set(world.sandbox.functions) == {"hello", copy}


def test_a_long_name_is_renamed_to_sixty_characters(make_world: Callable[..., World]) -> None:
    name = "a" * 60
    world = make_world(on_conflict="rename")
    world.sandbox.hold(name, code=OTHER)
    world.upload(name)
    delivery = world.until_finished()
    copy = f"{'a' * 44}-{delivery.created:%Y%m%d-%H%M%S}"
    assert delivery.result["func_name"] == copy
    assert len(copy) == 60
    assert set(world.sandbox.functions) == {name, copy}


def test_a_failed_import_retriggered_with_update_replaces_what_is_there(
    make_world: Callable[..., World],
) -> None:
    world = deliver(make_world, "skip", ELSE, "clean")
    world.relay.operations.retrigger(world.delivery.id, {"on_conflict": "update"})
    assert outcome(world.until_finished()) == (State.SUCCEEDED, "updated")
    assert is_brought(world.sandbox.functions["hello"])
    assert world.told == ["import.failed", "import.succeeded"]
