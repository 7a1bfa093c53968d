"""A chat that was away, in real processes: few messages tell all, and a kill loses none."""

import json

import pytest

from relay.model import Incoming, Kind, State, utc_now
from relay.testing.sandbox.exports import make_export

MANY = 24


def announce(world, count):
    """Stores notifications without a worker, each of a function of its own."""
    relay = world.relay()
    headers = {"authorization": "Bearer hook-token-of-the-tests"}
    for number in range(count):
        body = make_export(f"f{number}")
        told = world.upload(f"prod/f{number}.zip", body=body, function=f"f{number}")
        incoming = Incoming("exports", json.dumps(told).encode(), utc_now(), headers=headers)
        relay.intake.accept(incoming)


def chat(world):
    return [one for one in world.deliveries(Kind.MESSAGE) if one.destination == "chat"]


def told(world):
    """The imports that the chat was told of, by what the ledger says was posted."""
    posted = [one.message for one in chat(world) if one.state == State.SUCCEEDED]
    return [
        one["delivery"]
        for message in posted
        for one in (
            message["body"]["deliveries"] if message["type"] == "digest" else [message["body"]]
        )
    ]


def check(world):
    """All is told, once, and what is not posted says in which digest it is."""
    imports = {one.id for one in world.imports()}
    assert {one.state for one in world.imports()} == {State.SUCCEEDED}
    assert sorted(told(world)) == sorted(imports)
    posted = {one.id for one in chat(world) if one.state == State.SUCCEEDED}
    rest = [one for one in chat(world) if one.id not in posted]
    assert {(one.state, one.reason) for one in rest} == {(State.SKIPPED, "digest")}
    assert {one.result["digest"] for one in rest} <= posted
    return posted


def test_a_chat_that_was_busy_holds_no_import_up_and_is_then_told_in_few_messages(world, tools):
    world.inbox.fault(operation="slack", status=429, retry_after=1, times=None)
    announce(world, MANY)
    process = world.process("work")
    tools.until(lambda: len(world.told("import.succeeded")) == MANY, 60, world.log)
    assert len(chat(world)) == MANY
    assert told(world) == []
    world.inbox.faults.clear()
    world.settled(imports=MANY, within=60)
    assert len(check(world)) <= 10
    process.kill()


@pytest.mark.parametrize("point", ["gathered", "posting"])
def test_a_kill_around_a_digest_loses_nothing(make_world, tools, point):
    world = make_world(lease="3s")
    world.ledger.destinations.pause(Kind.MESSAGE, "chat", utc_now())
    announce(world, MANY)
    first = world.process("work")
    tools.until(lambda: len(world.told("import.succeeded")) == MANY, 60, world.log)
    tools.until(lambda: len(chat(world)) == MANY, 10)
    world.inbox.fault(operation="slack", delay=30, times=None)

    def there():
        digests = [one for one in chat(world) if one.message["type"] == "digest"]
        return digests if point == "gathered" else [one for one in digests if slack(world)]

    world.ledger.destinations.resume(Kind.MESSAGE, "chat")
    [digest] = tools.until(there, 60, world.log)
    first.kill()
    first.wait()
    world.inbox.faults.clear()
    world.process("work")
    world.settled(imports=MANY, within=60)
    posted = check(world)
    assert digest.id in posted
    assert len({one.body for one in slack(world)}) == len(posted), "a repeat says the same"


def slack(world):
    return [one for one in world.inbox.messages if one.channel == "slack"]
