"""The order of messages over HTTP: what the channel accepted last is the last result."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from relay.model import Kind, Retry, State, Succeeded

from .conftest import World


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


def fail_import(world: World) -> Any:
    """Let an import fail while the channel does not answer."""
    world.inbox.fault(operation="webhook", status=503, times=1)
    world.sandbox.fault(operation="import", status=400, times=1)
    world.upload()
    world.attempt()
    assert world.delivery.state == State.FAILED
    [message] = world.relay.ledger.history.messages(world.delivery.id)
    return message


def post_all(world: World) -> None:
    world.clock.forward(timedelta(hours=1))
    world.post_messages()


def accepted(world: World) -> list[Any]:
    return [message.json for message in world.inbox.messages if message.status == 204]


def test_the_last_message_after_a_retrigger_reports_the_success(world: World) -> None:
    failure = fail_import(world)
    assert isinstance(world.relay.worker.run(world.claim(Kind.MESSAGE)), Retry)
    world.relay.operations.retrigger(world.delivery.id)
    assert isinstance(world.attempt(), Succeeded)
    post_all(world)
    [message] = accepted(world)
    assert (message["type"], message["data"]["recovered"]) == ("import.succeeded", None)
    assert world.relay.ledger.history.delivery(failure.id).reason == "superseded"
    assert [d.state for d in world.deliveries(Kind.MESSAGE)] == [State.SUCCEEDED, State.SKIPPED]


def test_a_failure_that_was_accepted_is_recovered_from(world: World) -> None:
    failure = fail_import(world)
    assert isinstance(world.relay.worker.run(world.claim(Kind.MESSAGE)), Retry)
    post_all(world)
    world.relay.operations.retrigger(world.delivery.id)
    assert isinstance(world.attempt(), Succeeded)
    post_all(world)
    assert [message["type"] for message in accepted(world)] == ["import.failed", "import.succeeded"]
    assert accepted(world)[1]["data"]["recovered"]["message"] == failure.id
