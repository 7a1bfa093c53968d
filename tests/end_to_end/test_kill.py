"""kill -9 at any moment, restart: the delivery ends, one effective import, no false failure.

The torture's K1 and K2 do the same at every point, many times, on both engines.
"""

import json
import random

import pytest

from relay.model import Incoming, Kind, State, utc_now

POINTS = ("uploading", "applied", "posting")


def announce(world, record):
    """Stores the notification without a worker, as a web process does."""
    relay = world.relay()
    headers = {"authorization": "Bearer hook-token-of-the-tests"}
    relay.intake.accept(
        Incoming("exports", json.dumps(record).encode(), utc_now(), headers=headers)
    )


def prepare(world, point):
    """Slows down the step in which the relay is to be killed; returns how to see it there."""
    sandbox, inbox = world.sandbox, world.inbox
    if point == "uploading":
        sandbox.fault(operation="import", trickle=200_000, times=1)
        return lambda: world.received() > 50_000
    if point == "applied":
        sandbox.fault(operation="import", delay=30, times=1)
        return lambda: "hello" in sandbox.functions
    inbox.fault(operation="webhook", delay=30, times=1)
    return lambda: any(
        one.state == State.RUNNING and one.destination == "ops"
        for one in world.deliveries(Kind.MESSAGE)
    )


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_this_point_loses_nothing_and_doubles_nothing(make_world, tools, point):
    world = make_world(lease="3s")
    from relay.testing.sandbox.exports import make_export

    announce(world, world.upload(body=make_export("hello", code_size=1_000_000)))
    there = prepare(world, point)
    first = world.process("work")
    tools.until(there, 20, world.log)
    first.kill()
    first.wait()
    world.sandbox.faults.clear()
    world.inbox.faults.clear()
    world.process("work")
    [delivery] = world.settled(within=30)
    check(world, delivery)


@pytest.mark.parametrize("seed", [0])
def test_kills_at_random_moments_lose_nothing_and_double_nothing(make_world, tools, seed):
    """Several kills in a row, at moments that a seed chooses, in an import made slow."""
    world = make_world(lease="3s")
    from relay.testing.sandbox.exports import make_export

    chance = random.Random(seed)
    announce(world, world.upload(body=make_export("hello", code_size=1_000_000)))
    world.sandbox.fault(operation="import", trickle=1_500_000, times=None)
    for _ in range(3):
        process = world.process("work")
        after = chance.randint(0, 1_200_000)
        seen = world.received()
        tools.until(
            lambda after=after, seen=seen: (
                world.received() - seen >= after or (world.imports()[0].state.finished)
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
    assert world.effective() == 1
    assert delivery.result["func_urn"] == world.sandbox.functions["hello"].urn
    assert world.told("import.failed") == []
    told = world.told("import.succeeded")
    assert told
    assert len(set(told)) == 1, "a repeat carries the same id"
