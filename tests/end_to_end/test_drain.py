"""SIGTERM: what was pulled from the queue but not stored stays in the queue, and comes again."""

import ctypes
import http.client
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay.model import State

HIDDEN = "ApproximateNumberOfMessagesNotVisible"
WAITING = "ApproximateNumberOfMessages"


@pytest.fixture
def count(world):
    def count(which):
        told = world.sqs.get_queue_attributes(QueueUrl=world.queue, AttributeNames=[which])
        return int(told["Attributes"][which])

    return count


@pytest.fixture
def working(world, tools, count):
    """Starts a relay as a process that pulls; returns it once it does."""

    def working():
        process = world.process("work")
        world.sqs.send_message(QueueUrl=world.queue, MessageBody='{"Event": "s3:TestEvent"}')
        seen = len(world.ledger.history.notifications().items)
        tools.until(
            lambda: len(world.ledger.history.notifications().items) > seen and not count(HIDDEN),
            20,
            world.log,
        )
        return process

    return working


def test_a_signal_that_another_thread_gets_ends_it_too(working):
    """The kernel chooses the thread; Python acts on it in the first one."""
    process = working()
    threads = sorted(int(one.name) for one in Path(f"/proc/{process.pid}/task").iterdir())
    assert ctypes.CDLL(None).tgkill(process.pid, threads[-1], signal.SIGTERM) == 0
    assert process.wait(timeout=30) == 0


def ready(port):
    """A connection on which a server has answered; None: it does not yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/readyz")
    except ConnectionRefusedError:
        return None
    answer = connection.getresponse()
    answer.read()
    return connection if answer.status == 200 else None


def begin(connection, tools, record):
    """Sends a notification but for its last byte; returns how it is ended."""
    body = json.dumps(record).encode()
    connection.putrequest("POST", "/hooks/exports")
    for name, value in (("Authorization", f"Bearer {tools.token}"), ("Content-Length", len(body))):
        connection.putheader(name, str(value))
    connection.endheaders(body[:-1])

    def end():
        connection.send(body[-1:])
        status = connection.getresponse().status
        connection.close()
        return status

    return end


def test_what_comes_while_a_server_ends_is_kept_for_the_next_one(world, tools):
    """Requests under way end first, which may take long: nothing new is begun meanwhile."""
    port = tools.free_port()
    process = world.process("serve", "--port", str(port))
    opened = [tools.until(lambda: ready(port), 20, world.log) for _ in "ab"]
    records = [world.upload(f"prod/{name}.zip", function=name) for name in "ab"]
    ends = [begin(*one) for one in zip(opened, [tools] * 2, records, strict=True)]
    process.send_signal(signal.SIGTERM)
    tools.until(lambda: "worker stops" in world.log(), 10, world.log)
    assert [end() for end in ends] == [200, 200]
    assert process.wait(timeout=30) == 0, world.log()
    assert [(one.state, one.attempts) for one in world.imports()] == [(State.PENDING, 0)] * 2
    world.working()
    assert {one.state for one in world.settled(imports=2)} == {State.SUCCEEDED}


def test_a_message_that_was_not_stored_is_not_deleted_and_comes_again(world, tools, count, working):
    world.sqs.set_queue_attributes(QueueUrl=world.queue, Attributes={"VisibilityTimeout": "3"})
    process = working()
    record = world.upload()
    with closing(sqlite3.connect(world.folder / "relay.db", isolation_level=None)) as ledger:
        ledger.execute("BEGIN IMMEDIATE")  # nobody can store anything
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=json.dumps(record))
        tools.until(lambda: count(HIDDEN), 20, world.log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, world.log()
        ledger.execute("ROLLBACK")
    assert world.imports() == []
    tools.until(lambda: count(WAITING) == 1, 10)
    working()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    tools.until(lambda: count(WAITING) + count(HIDDEN) == 0, 10)


def test_a_message_that_is_being_stored_is_stored_and_deleted(world, tools, count, working):
    process = working()
    record = world.upload()
    with closing(sqlite3.connect(world.folder / "relay.db", isolation_level=None)) as ledger:
        ledger.execute("BEGIN IMMEDIATE")
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=json.dumps(record))
        tools.until(lambda: count(HIDDEN), 20, world.log)
        process.send_signal(signal.SIGTERM)
        ledger.execute("ROLLBACK")
    assert process.wait(timeout=30) == 0, world.log()
    assert len(world.imports()) == 1
    assert count(WAITING) + count(HIDDEN) == 0
