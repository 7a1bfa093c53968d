"""kill -9 at any moment, then a restart: one effective import, and no false failure.

The torture tests K1 and K2 do the same at every point, many times, on both engines.
"""

import random

import pytest

from relay.model import Kind, State
from relay.testing.sandbox.exports import make_export
from tests.end_to_end.world import accept, until

POINTS = ("uploading", "applied", "posting")


def accept_big_upload(world):
    """Accept a notification of an archive of 1 MB, without a worker."""
    accept(world.relay(), world.upload(body=make_export("hello", code_size=1_000_000)))


def slow_down(world, point):
    """Slow down a step; return a condition that is true while the relay is in that step."""
    sandbox, inbox = world.sandbox, world.inbox
    if point == "uploading":
        sandbox.fault(operation="import", trickle=200_000, times=1)
        return lambda: world.received() > 50_000
    if point == "applied":
        sandbox.fault(operation="import", delay=30, times=1)
        return lambda: "hello" in sandbox.functions
    inbox.fault(operation="webhook", delay=30, times=1)
    return lambda: any(
        message.state == State.RUNNING and message.destination == "ops"
        for message in world.deliveries(Kind.MESSAGE)
    )


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_this_point_loses_and_repeats_nothing(make_world, point):
    world = make_world(lease="3s")
    accept_big_upload(world)
    is_at_point = slow_down(world, point)
    first = world.process("work")
    until(is_at_point, 20, world.log)
    first.kill()
    first.wait()
    world.sandbox.faults.clear()
    world.inbox.faults.clear()
    world.process("work")
    [delivery] = world.settled(within=30)
    check(world, delivery)


@pytest.mark.parametrize("seed", [0])
def test_kills_at_random_moments_lose_and_repeat_nothing(make_world, seed):
    """Several kills in a row, at moments chosen by a seed, during a slow import."""
    world = make_world(lease="3s")
    chance = random.Random(seed)
    accept_big_upload(world)
    world.sandbox.fault(operation="import", trickle=1_500_000, times=None)
    for _ in range(3):
        process = world.process("work")
        kill_at = world.received() + chance.randint(0, 1_200_000)
        until(
            lambda kill_at=kill_at: (
                world.received() >= kill_at or world.imports()[0].state.finished
            ),
            20,
            world.log,
        )
        process.kill()
        process.wait()
    world.process("work")
    [delivery] = world.settled(within=30)
    check(world, delivery)


def check(world, delivery):
    assert delivery.state == State.SUCCEEDED, world.log()
    assert world.applied_calls() == 1
    assert delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    assert world.message_ids("import.failed") == []
    ids = world.message_ids("import.succeeded")
    assert ids
    assert len(set(ids)) == 1, "a repeated post has the same id"
