"""SIGTERM: nothing that was received is lost, and nothing unfinished is confirmed to the queue."""

import ctypes
import http.client
import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relay.model import State
from tests.end_to_end.world import TOKEN, free_port, until

IN_FLIGHT = "ApproximateNumberOfMessagesNotVisible"
VISIBLE = "ApproximateNumberOfMessages"


@pytest.fixture
def count(world):
    """count(attribute) -> a number of messages in the queue"""
    return lambda attribute: int(world.queue_attribute(attribute))


@pytest.fixture
def start_polling(world, count):
    """start_polling() -> a worker process that polls the queue"""

    def stored():
        return len(world.ledger.history.notifications().items)

    def start():
        process = world.process("work")
        world.sqs.send_message(QueueUrl=world.queue, MessageBody='{"Event": "s3:TestEvent"}')
        before = stored()
        until(lambda: stored() > before and not count(IN_FLIGHT), 20, world.log)
        return process

    return start


def test_a_signal_to_another_thread_stops_the_process(start_polling):
    """The kernel chooses a thread for a signal; Python handles it in the main thread."""
    process = start_polling()
    threads = sorted(int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir())
    assert ctypes.CDLL(None).tgkill(process.pid, threads[-1], signal.SIGTERM) == 0
    assert process.wait(timeout=30) == 0


def connect(port):
    """Return a connection on which the server has responded, or None if it does not yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/readyz")
    except ConnectionRefusedError:
        return None
    response = connection.getresponse()
    response.read()
    return connection if response.status == 200 else None


def begin_post(connection, notification):
    """Send a notification except for the last byte; return a function that sends the rest."""
    body = json.dumps(notification).encode()
    connection.putrequest("POST", "/hooks/exports")
    for name, value in (("Authorization", f"Bearer {TOKEN}"), ("Content-Length", len(body))):
        connection.putheader(name, str(value))
    connection.endheaders(body[:-1])

    def finish():
        connection.send(body[-1:])
        status = connection.getresponse().status
        connection.close()
        return status

    return finish


def test_a_notification_during_shutdown_is_stored_for_the_next_process(world):
    """A server first finishes open requests, which may take long, and starts no more deliveries."""
    port = free_port()
    process = world.process("serve", "--port", str(port))
    connections = [until(lambda: connect(port), 20, world.log) for _ in "ab"]
    notifications = [world.upload(f"prod/{name}.zip", function=name) for name in "ab"]
    posts = [begin_post(*pair) for pair in zip(connections, notifications, strict=True)]
    process.send_signal(signal.SIGTERM)
    until(lambda: "worker stops" in world.log(), 10, world.log)
    assert [finish() for finish in posts] == [200, 200]
    assert process.wait(timeout=30) == 0, world.log()
    assert [(item.state, item.attempts) for item in world.imports()] == [(State.PENDING, 0)] * 2
    world.running_relay()
    assert {delivery.state for delivery in world.settled(imports=2)} == {State.SUCCEEDED}


def test_a_message_that_was_not_stored_stays_in_the_queue(world, count, start_polling):
    world.sqs.set_queue_attributes(QueueUrl=world.queue, Attributes={"VisibilityTimeout": "3"})
    process = start_polling()
    notification = world.upload()
    with closing(sqlite3.connect(world.folder / "relay.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")  # blocks all writers
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=json.dumps(notification))
        until(lambda: count(IN_FLIGHT), 20, world.log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, world.log()
        database.execute("ROLLBACK")
    assert world.imports() == []
    until(lambda: count(VISIBLE) == 1, 10)
    start_polling()
    [delivery] = world.settled()
    assert delivery.state == State.SUCCEEDED
    until(lambda: count(VISIBLE) + count(IN_FLIGHT) == 0, 10)


def test_a_message_that_is_being_stored_is_stored_and_deleted(world, count, start_polling):
    process = start_polling()
    notification = world.upload()
    with closing(sqlite3.connect(world.folder / "relay.db", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=json.dumps(notification))
        until(lambda: count(IN_FLIGHT), 20, world.log)
        process.send_signal(signal.SIGTERM)
        database.execute("ROLLBACK")
    assert process.wait(timeout=30) == 0, world.log()
    assert len(world.imports()) == 1
    assert count(VISIBLE) + count(IN_FLIGHT) == 0
