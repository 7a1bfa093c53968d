"""Many objects for the same function: in any order of arrival, the newest upload wins."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from relay.delivery.deliver import Deliverer
from relay.delivery.metrics import ProcessMetrics
from relay.delivery.wake_signal import WakeSignal
from relay.delivery.worker import Worker
from relay.model import Incoming, Kind, Origin, Skipped, State, Succeeded, utc_now
from relay.targets.contract import ImportResult
from relay.testing.sandbox.exports import make_export

from .conftest import FOLDER, World, code_of, until

MANY = 100
EPOCH = 1_700_000_000


@pytest.fixture
def database(ledger_url: str) -> str:
    return ledger_url


def export(number: int) -> bytes:
    return make_export("hello", code={"index.py": b"number = %d\n" % number})


def put_versions(world: World, numbers: range) -> None:
    """Write versions of a function as separate objects, each a minute newer than the last."""
    for number in numbers:
        path = world.put(f"hello-v{number}", export(number))
        os.utime(path, (EPOCH + 60 * number, EPOCH + 60 * number))


def announce(world: World, *numbers: int, source: str = "exports") -> None:
    """Accept a notification of each object, in that order."""
    found = {event.object.key: event for event in world.relay.plugins.sources[source].scan()}
    for number in numbers:
        event = found[f"hello-v{number}.zip"]
        world.relay.intake.accept_found(Incoming(source, b"", utc_now(), Origin.SCAN), [event])


def states(world: World) -> dict[str, tuple[State, str | None]]:
    return {d.key: (d.state, d.reason) for d in world.deliveries(Kind.IMPORT)}


def delivery_id_of(world: World, number: int) -> str:
    """The id of the delivery of a version."""
    key = f"hello-v{number}.zip"
    return next(d.id for d in world.deliveries(Kind.IMPORT) if d.key == key)


def settle(world: World) -> None:
    """Wait until a call that was answered by 503 can no longer take effect."""
    world.clock.forward(timedelta(seconds=15))


def another_worker(world: World) -> Worker:
    relay = world.relay
    return Worker(
        relay.settings,
        relay.ledger,
        Deliverer(relay.ledger, relay.plugins, clock=world.clock),
        clock=world.clock,
        wake_signal=WakeSignal(),
        metrics=ProcessMetrics(),
    )


@pytest.mark.parametrize(
    ("ledger_url", "template"),
    [("sqlite", "{function}"), ("sqlite", "hello"), ("postgresql", "{function}")],
    indirect=["ledger_url"],
)
def test_a_hundred_versions_in_any_order_leave_the_newest(
    make_world: Callable[..., World], template: str
) -> None:
    """The archive or the route contains the name; two workers with four slots each."""
    world = make_world(on_conflict="update", workers=4, func_name=template)
    order = list(range(MANY))
    random.Random(len(template)).shuffle(order)
    put_versions(world, range(MANY))
    workers = [world.relay.worker, another_worker(world)]
    for worker in workers:
        worker.start()
    try:
        announce(world, *order)
        until(lambda: all(state.finished for state, _ in states(world).values()), 60, interval=0.1)
    finally:
        for worker in workers:
            worker.stop(5)
    results = states(world)
    assert len(results) == MANY
    assert results[f"hello-v{MANY - 1}.zip"] == (State.SUCCEEDED, None)
    assert set(results.values()) == {(State.SUCCEEDED, None), (State.SKIPPED, "superseded")}
    assert world.stored("hello") == code_of(export(MANY - 1))


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(on_conflict="update", workers=4)


def test_an_older_upload_that_runs_late_is_superseded_and_names_the_newer_one(world: World) -> None:
    put_versions(world, range(1, 3))
    announce(world, 1)
    world.sandbox.fault(operation="import", status=503)
    world.attempt()
    announce(world, 2)
    settle(world)
    newer = world.relay.worker.claim(Kind.IMPORT, only=delivery_id_of(world, 2))
    assert newer is not None, "a delivery that waits for its next attempt blocks no other"
    assert isinstance(world.relay.worker.run(newer), Succeeded)
    world.clock.forward(timedelta(seconds=5))
    outcome = world.attempt()
    assert isinstance(outcome, Skipped)
    message = outcome.result["words"]
    assert outcome.reason == "superseded"
    for language in ("en", "zh"):
        assert "hello-v2.zip" in message[language]
        assert newer.delivery.id in message[language]
    assert outcome.result["func_name"] == "hello"
    assert world.stored("hello") == code_of(export(2))
    world.post_messages()
    skipped = world.inbox.messages[-1].json
    assert skipped["type"] == "import.skipped"
    assert "hello-v2.zip" in str(skipped["data"]["reason"])


TWO_SOURCES = f"""{FOLDER}
[sources.other]{FOLDER}
[[routes]]
source = "other"
target = "prod"
on_conflict = "update"
"""


@pytest.mark.parametrize("ledger_url", ["sqlite", "postgresql"], indirect=True)
def test_between_sources_the_arrival_decides_and_the_message_says_so(
    make_world: Callable[..., World],
) -> None:
    """The clock of the other storage is a minute behind, so its newer upload looks older."""
    world = make_world(on_conflict="update", source=TWO_SOURCES)
    put_versions(world, range(1, 3))
    announce(world, 2)
    world.sandbox.fault(operation="import", status=503)
    world.attempt()
    announce(world, 1, source="other")
    settle(world)
    newer = world.relay.worker.claim(Kind.IMPORT, only=delivery_id_of(world, 1))
    assert newer is not None
    assert isinstance(world.relay.worker.run(newer), Succeeded)
    world.clock.forward(timedelta(seconds=5))
    outcome = world.attempt()
    assert isinstance(outcome, Skipped)
    message = outcome.result["words"]
    assert "hello-v1.zip of source other, which arrived later, is in hello already" in message["en"]
    assert "the order of arrival decides" in message["en"]
    assert "来源 other 中更晚到达的 hello-v1.zip" in message["zh"]
    assert world.stored("hello") == code_of(export(1))


def test_a_retrigger_imports_an_older_upload_again(world: World) -> None:
    put_versions(world, range(1, 3))
    announce(world, 2, 1)
    world.attempt()
    assert isinstance(world.attempt(), Skipped)
    world.relay.operations.retrigger(delivery_id_of(world, 1))
    assert isinstance(world.attempt(), Succeeded)
    assert world.stored("hello") == code_of(export(1))


def test_a_submission_imports_an_old_upload(world: World) -> None:
    put_versions(world, range(1, 3))
    announce(world, 2)
    world.attempt()
    world.relay.operations.submit("exports", "exports", "hello-v1.zip")
    assert isinstance(world.attempt(), Succeeded)
    assert world.stored("hello") == code_of(export(1))


def test_renamed_copies_are_created_in_any_order(make_world: Callable[..., World]) -> None:
    world = make_world(on_conflict="rename")
    put_versions(world, range(1, 3))
    announce(world, 2, 1)
    assert isinstance(world.attempt(), Succeeded)
    assert isinstance(world.attempt(), Succeeded)
    assert len(world.sandbox.functions) == 2


def test_after_a_crash_the_newest_upload_wins(world: World) -> None:
    put_versions(world, range(1, 4))
    announce(world, 2)
    world.killed_attempt()
    announce(world, 3, 1)
    for _ in range(3):
        world.attempt()
    assert states(world)["hello-v3.zip"] == (State.SUCCEEDED, None)
    assert world.stored("hello") == code_of(export(3))


def test_a_second_import_makes_no_call_while_the_first_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_versions(world, range(1, 3))
    announce(world, 1, 2)
    first, second = world.claim(), world.claim()
    upload_started, may_continue = threading.Event(), threading.Event()
    target = world.relay.plugins.targets["prod"]
    create = target.create

    def slow_create(*arguments: Any) -> ImportResult:
        upload_started.set()
        assert may_continue.wait(20)
        return create(*arguments)

    monkeypatch.setattr(target, "create", slow_create)
    thread = threading.Thread(target=world.relay.worker.run, args=(first,))
    thread.start()
    try:
        assert upload_started.wait(20)
        calls = len(world.sandbox.calls)
        assert world.relay.worker.run(second) is None
        assert len(world.sandbox.calls) == calls
        waiting = world.relay.ledger.history.delivery(second.delivery.id)
        assert waiting is not None
        assert (waiting.state, waiting.attempts, waiting.error) == (State.PENDING, 0, None)
        assert world.relay.worker.claim(Kind.IMPORT) is None
    finally:
        may_continue.set()
        thread.join(20)
    assert isinstance(world.attempt(), Succeeded)
    assert world.stored("hello") == code_of(export(2))
