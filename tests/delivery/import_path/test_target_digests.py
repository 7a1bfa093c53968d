"""A target that reports other digests than SHA-512: clear responses show which digest to expect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from relay.model import State
from relay.testing.sandbox.exports import make_export

from .conftest import World, code_of

CODE = code_of(make_export("hello"))
SHA512 = hashlib.sha512(CODE).hexdigest()


def target_digest(sha512: str) -> str:
    """The digest that this target reports."""
    return hashlib.sha256(sha512.encode()).hexdigest().upper()


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A relay that has seen a clear response with the other digest."""
    world = make_world(digest_of=target_digest)
    world.upload("first")
    assert world.until_finished().state == State.SUCCEEDED
    return world


def import_same_code(world: World, function: str, **more: str) -> tuple[State, str | None]:
    """Import the same code under another name; returns the state with reason, code or `how`."""
    world.upload(function, **more)
    for _ in range(5):
        world.attempt()
        delivery = next(d for d in world.deliveries("import") if d.key == f"{function}.zip")
        if delivery.state.finished:
            break
    error = delivery.error.code if delivery.error else None
    return delivery.state, delivery.reason or error or delivery.result["how"]


def test_the_digest_of_the_target_is_stored_after_a_clear_response(world: World) -> None:
    assert world.delivery.result["target_digest"] == target_digest(SHA512)
    assert world.delivery.result["digest"] == SHA512
    assert world.relay.ledger.digests.find("prod", SHA512) == target_digest(SHA512).lower()
    assert world.relay.ledger.digests.find("test", SHA512) is None


def test_a_lost_response_is_resolved_by_the_known_digest(world: World) -> None:
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert import_same_code(world, "second") == (State.SUCCEEDED, "already there")
    assert [call.function for call in world.sandbox.calls if call.applied] == ["first", "second"]


def test_an_import_whose_process_crashed_is_resolved_by_the_known_digest(world: World) -> None:
    world.upload("second")
    world.killed_attempt()
    world.attempt()
    assert {delivery.state for delivery in world.deliveries("import")} == {State.SUCCEEDED}
    assert [call.function for call in world.sandbox.calls if call.applied] == ["first", "second"]


def test_the_same_content_is_unchanged_by_the_known_digest(world: World) -> None:
    world.sandbox.hold("second", code=CODE)
    assert import_same_code(world, "second") == (State.SKIPPED, "unchanged")


def test_other_content_does_not_match_the_known_digest(world: World) -> None:
    world.sandbox.hold("second", code=CODE[::-1])
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert import_same_code(world, "second") == (State.FAILED, "conflict.other_content")


def test_known_digests_survive_a_restart(world: World) -> None:
    world.relay.ledger.close()  # the next use opens the file again
    assert world.relay.ledger.digests.find("prod", SHA512.upper()) == target_digest(SHA512).lower()


def test_a_digest_in_capitals_is_the_same_digest(make_world: Callable[..., World]) -> None:
    world = make_world(digest_of=str.upper)
    world.upload("hello")
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert world.until_finished().result["how"] == "already there"


def test_the_first_import_with_a_lost_response_is_resolved_by_name_and_size(
    make_world: Callable[..., World],
) -> None:
    """No digest is known yet; the name was free before, and the size matches."""
    world = make_world(digest_of=target_digest)
    world.upload("hello")
    world.sandbox.fault(operation="import", commit=True, drop=True)
    assert world.until_finished().state == State.SUCCEEDED
