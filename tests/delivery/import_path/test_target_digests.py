"""A target that shows other digests than SHA-512: clear answers teach what lost ones need."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from relay.model import State
from relay.testing.sandbox.exports import make_export

from .conftest import World, code_of

CODE = code_of(make_export("hello"))
OURS = hashlib.sha512(CODE).hexdigest()


def otherwise(sha512: str) -> str:
    """How this target names code."""
    return hashlib.sha256(sha512.encode()).hexdigest().upper()


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A relay whose target names code otherwise, and told so in one clear answer."""
    world = make_world(digest_of=otherwise)
    world.upload("first")
    assert world.until_finished().state == State.SUCCEEDED
    return world


def again(world: World, function: str, **more: str) -> tuple[State, str | None]:
    """Brings the same code under another name; the new delivery's state, and why or how."""
    world.upload(function, **more)
    for _ in range(5):
        world.attempt()
        delivery = next(one for one in world.deliveries("import") if one.key == f"{function}.zip")
        if delivery.state.finished:
            break
    error = delivery.error.code if delivery.error else None
    return delivery.state, delivery.reason or error or delivery.result["how"]


def test_the_sandbox_shows_what_it_is_told_and_the_ledger_learns_it(world: World) -> None:
    assert world.delivery.result["target_digest"] == otherwise(OURS)
    assert world.delivery.result["digest"] == OURS
    assert world.relay.ledger.digests.find("prod", OURS) == otherwise(OURS).lower()
    assert world.relay.ledger.digests.find("test", OURS) is None


def test_a_lost_answer_is_recognised_by_what_was_learned(world: World) -> None:
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert again(world, "second") == (State.SUCCEEDED, "already there")
    assert [call.function for call in world.sandbox.calls if call.applied] == ["first", "second"]


def test_an_import_killed_after_its_effect_is_recognised_by_what_was_learned(world: World) -> None:
    world.upload("second")
    world.killed_attempt()
    world.attempt()
    assert {one.state for one in world.deliveries("import")} == {State.SUCCEEDED}
    assert [call.function for call in world.sandbox.calls if call.applied] == ["first", "second"]


def test_the_same_content_is_unchanged_by_what_was_learned(world: World) -> None:
    world.sandbox.hold("second", code=CODE)
    assert again(world, "second") == (State.SKIPPED, "unchanged")


def test_other_content_is_not_taken_for_what_was_learned(world: World) -> None:
    world.sandbox.hold("second", code=CODE[::-1])
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert again(world, "second") == (State.FAILED, "conflict.other_content")


def test_what_is_learned_outlives_the_process(world: World) -> None:
    world.relay.ledger.close()  # the next use opens the file again
    assert world.relay.ledger.digests.find("prod", OURS.upper()) == otherwise(OURS).lower()


def test_a_digest_in_capitals_is_the_same_digest(make_world: Callable[..., World]) -> None:
    world = make_world(digest_of=str.upper)
    world.upload("hello")
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert world.until_finished().result["how"] == "already there"


def test_the_very_first_import_of_such_a_target_may_lose_its_answer_too(
    make_world: Callable[..., World],
) -> None:
    """Nothing was learned yet: that the name was free and the size is right speak for it."""
    world = make_world(digest_of=otherwise)
    world.upload("hello")
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert world.until_finished().state == State.SUCCEEDED
