"""The configuration of an existing function: skipped, updated, half updated and planned."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from relay.model import ObjectRef, State
from relay.testing.sandbox.exports import make_export

from .conftest import World, code_of

EXPORT = make_export("hello", Timeout=30, Environment={"Variables": {"TOKEN": "secret-word"}})
CODE = code_of(EXPORT)
OTHER = b"made by another client"


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


def changes(world: World) -> list[str]:
    return [call.operation for call in world.sandbox.calls if call.applied]


def plan(world: World) -> dict[str, object]:
    event = next(iter(world.relay.plugins.sources["exports"].scan()))
    ref = ObjectRef(event.object.bucket, event.object.key, event.object.version)
    would = world.relay.operations.plan("exports", ref.bucket, ref.key)["would"]
    assert isinstance(would, dict)
    return would


def test_equal_code_with_other_settings_is_skipped_and_names_the_differences(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="skip")
    world.sandbox.hold("hello", code=CODE)
    world.upload("hello", EXPORT)
    expected = [
        {"field": "Timeout", "current": 3, "wanted": 30},
        {"field": "Environment.TOKEN", "current": None, "wanted": "***"},
    ]
    assert plan(world) == {
        "action": "skip",
        "reason": "configuration differs",
        "differences": expected,
        "func_urn": world.sandbox.functions["hello"].urn,
    }
    delivery = world.until_finished()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, "configuration differs")
    assert delivery.result["differences"] == expected
    assert changes(world) == []
    (message,) = world.inbox.messages
    reason = message.json["data"]["reason"]
    assert reason["code"] == "configuration differs"
    assert "Timeout 3 → 30" in reason["message"]
    assert message.json["data"]["differences"] == expected
    assert "secret-word" not in json.dumps(message.json)


def test_equal_code_with_equal_settings_is_unchanged(make_world: Callable[..., World]) -> None:
    world = make_world(on_conflict="skip")
    world.sandbox.hold("hello", code=CODE, timeout=30, user_data='{"TOKEN": "secret-word"}')
    world.upload("hello", EXPORT)
    delivery = world.until_finished()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, "unchanged")


@pytest.mark.parametrize(("timeout", "reason"), [(30, "unchanged"), (3, "configuration differs")])
def test_a_skip_names_what_it_could_not_apply(
    make_world: Callable[..., World], timeout: int, reason: str
) -> None:
    world = make_world(on_conflict="skip")
    world.sandbox.hold("hello", code=CODE, timeout=timeout)
    world.upload("hello", make_export("hello", Timeout=30, Newfangled=5))
    assert plan(world)["not_applied"] == ["Newfangled"]
    delivery = world.until_finished()
    assert (delivery.state, delivery.reason) == (State.SKIPPED, reason)
    assert delivery.result["not_applied"] == ["Newfangled"]
    (message,) = world.inbox.messages
    assert message.json["data"]["not_applied"] == ["Newfangled"]


@pytest.mark.parametrize(
    ("policy", "timeout", "state", "reason", "word"),
    [
        ("skip", 3, State.SKIPPED, "unchanged", "was not compared"),
        ("skip", 30, State.SKIPPED, "configuration differs", "was not compared"),
        ("update", 3, State.SUCCEEDED, None, "sent only together with another change"),
        ("update", 30, State.SUCCEEDED, None, "sent together with the other changes"),
    ],
)
def test_a_value_that_the_target_does_not_show_is_no_difference_and_is_named(
    make_world: Callable[..., World],
    policy: str,
    timeout: int,
    state: State,
    reason: str | None,
    word: str,
) -> None:
    world = make_world(on_conflict=policy)
    world.sandbox.hold("hello", code=CODE, encrypted_user_data='{"P": "a"}')
    world.upload("hello", make_export("hello", Timeout=timeout, EncryptedUserData={"P": "b"}))
    assert plan(world)["not_compared"] == ["EncryptedUserData"]
    delivery = world.until_finished()
    assert (delivery.state, delivery.reason) == (state, reason)
    (warning,) = delivery.result["warnings"]
    assert "EncryptedUserData" in warning["message"]["zh"]
    assert word in warning["message"]["en"]
    is_sent = policy == "update" and timeout == 30
    assert changes(world) == (["update_config"] if is_sent else [])
    expected = '{"P": "b"}' if is_sent else '{"P": "a"}'
    assert world.sandbox.functions["hello"].config["encrypted_user_data"] == expected


def test_an_update_reports_what_it_changed_and_what_it_could_not_apply(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER, xrole="role", future="on")
    world.upload("hello", make_export("hello", Timeout=30, Triggers=["a"]))
    would = plan(world)
    assert (would["action"], would["not_applied"]) == ("update", ["Triggers"])
    assert would["unknown_fields"] == ["future"]
    delivery = world.until_finished()
    assert delivery.state == State.SUCCEEDED
    assert delivery.result["effect"] == ["code", "configuration"]
    assert delivery.result["not_applied"] == ["Triggers"]
    assert "future" in delivery.result["warnings"][-1]["message"]
    assert world.sandbox.functions["hello"].config["xrole"] == "role"
    (message,) = world.inbox.messages
    data = message.json["data"]
    assert (data["effect"], data["not_applied"], data["unknown_fields"]) == (
        ["code", "configuration"],
        ["Triggers"],
        ["future"],
    )


def test_an_update_with_nothing_to_change_says_so(make_world: Callable[..., World]) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=CODE, timeout=30, user_data='{"TOKEN": "secret-word"}')
    world.upload("hello", EXPORT)
    delivery = world.until_finished()
    assert (delivery.state, delivery.result["how"]) == (State.SUCCEEDED, "unchanged")
    assert delivery.result["effect"] == []
    assert changes(world) == []


def test_a_refused_configuration_is_reported_with_the_code_that_is_in_place(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER)
    world.sandbox.fault(operation="update_config", status=400, code="FSS.1007")
    world.upload("hello", EXPORT)
    delivery = world.until_finished()
    assert delivery.state == State.FAILED
    assert delivery.result["effect"] == ["code"]
    assert delivery.error.message.en.startswith("The code was updated, the configuration was not")
    assert delivery.error.message.zh.startswith("代码已更新，配置未更新")
    (message,) = world.inbox.messages
    assert message.json["data"]["effect"] == ["code"]
    assert world.sandbox.functions["hello"].code.path.read_bytes() == CODE


def test_another_runtime_is_refused_in_plan_and_import_before_the_code_is_sent(
    make_world: Callable[..., World],
) -> None:
    world = make_world(on_conflict="update")
    world.sandbox.hold("hello", code=OTHER, runtime="Node.js18.15")
    world.upload("hello", EXPORT)
    assert (plan(world)["action"], plan(world)["code"]) == ("fail", "functiongraph.runtime")
    delivery = world.until_finished()
    assert (delivery.state, delivery.error.code) == (State.FAILED, "functiongraph.runtime")
    assert "cannot change the runtime" in delivery.error.message.en
    assert changes(world) == []


def test_a_route_can_empty_the_environment(make_world: Callable[..., World]) -> None:
    world = make_world(on_conflict='update"\nreplace_environment = true\nname = "r')
    world.sandbox.hold("hello", code=OTHER, user_data='{"A": "b"}')
    world.upload("hello")
    assert world.until_finished().result["effect"] == ["code", "configuration"]
    assert json.loads(world.sandbox.functions["hello"].config["user_data"]) == {}
