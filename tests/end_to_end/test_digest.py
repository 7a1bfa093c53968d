"""A throttled chat with real processes: digests batch the messages, and a kill loses none."""

import pytest

from relay.model import Kind, State, utc_now
from relay.testing.sandbox.exports import make_export
from tests.end_to_end.world import accept, until

COUNT = 24


def accept_uploads(world, count):
    """Accept notifications of different functions, without a worker."""
    relay = world.relay()
    for number in range(count):
        body = make_export(f"f{number}")
        accept(relay, world.upload(f"prod/f{number}.zip", body=body, function=f"f{number}"))


def chat_messages(world):
    return [message for message in world.deliveries(Kind.MESSAGE) if message.destination == "chat"]


def reported_imports(world):
    """The ids of the imports in the messages posted to the chat, according to the ledger."""
    reported = []
    for delivery in chat_messages(world):
        if delivery.state == State.SUCCEEDED:
            body = delivery.message["body"]
            is_digest = delivery.message["type"] == "digest"
            reported += [
                entry["delivery"] for entry in (body["deliveries"] if is_digest else [body])
            ]
    return reported


def check(world):
    """Check that each import is reported exactly once and skipped messages name a posted digest."""
    imports = world.imports()
    assert {delivery.state for delivery in imports} == {State.SUCCEEDED}
    assert sorted(reported_imports(world)) == sorted(delivery.id for delivery in imports)
    messages = chat_messages(world)
    posted = {message.id for message in messages if message.state == State.SUCCEEDED}
    skipped = [message for message in messages if message.id not in posted]
    assert {(message.state, message.reason) for message in skipped} == {(State.SKIPPED, "digest")}
    assert {message.result["digest"] for message in skipped} <= posted
    return posted


def test_a_throttled_chat_delays_no_import_and_then_gets_few_messages(world):
    world.inbox.fault(operation="slack", status=429, retry_after=1, times=None)
    accept_uploads(world, COUNT)
    process = world.process("work")
    until(lambda: len(world.message_ids("import.succeeded")) == COUNT, 60, world.log)
    assert len(chat_messages(world)) == COUNT
    assert reported_imports(world) == []
    world.inbox.faults.clear()
    world.settled(imports=COUNT, within=60)
    assert len(check(world)) <= 10
    process.kill()


@pytest.mark.parametrize("point", ["gathered", "posting"])
def test_a_kill_around_a_digest_loses_nothing(make_world, point):
    world = make_world(lease="3s")
    world.ledger.destinations.pause(Kind.MESSAGE, "chat", utc_now())
    accept_uploads(world, COUNT)
    first = world.process("work")
    until(lambda: len(world.message_ids("import.succeeded")) == COUNT, 60, world.log)
    until(lambda: len(chat_messages(world)) == COUNT, 10)
    world.inbox.fault(operation="slack", delay=30, times=None)

    def digests_at_point():
        digests = [item for item in chat_messages(world) if item.message["type"] == "digest"]
        return digests if point == "gathered" or slack_requests(world) else []

    world.ledger.destinations.resume(Kind.MESSAGE, "chat", utc_now())
    [digest] = until(digests_at_point, 60, world.log)
    first.kill()
    first.wait()
    world.inbox.faults.clear()
    world.process("work")
    world.settled(imports=COUNT, within=60)
    posted = check(world)
    assert digest.id in posted
    bodies = {request.body for request in slack_requests(world)}
    assert len(bodies) == len(posted), "a repeated post has the same body"


def slack_requests(world):
    return [message for message in world.inbox.messages if message.channel == "slack"]
