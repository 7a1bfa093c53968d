"""Two thousand uploads, some without a notification: scans find all of them exactly once."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from relay.ledger import DeliveryQuery
from relay.model import Kind, utc_now
from tests.end_to_end.world import accept, record, until

COUNT = 2000
UNANNOUNCED_EVERY = 20
"""Of this many uploads, the first has no notification."""


@pytest.fixture
def fill(world):
    """fill(count) -> the notifications of that many small new objects, by key.

    Puts the objects into the backend of moto, which is ten times faster than requests.
    """
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def put(number):
        key, body = f"prod/{number:05d}.zip", f"archive {number}".encode()
        etag = backend.put_object("exports", key, body).etag.strip('"')
        time = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return key, record(key, etag, len(body), time=time, sequencer=f"{number:016X}")

    return lambda count: dict(map(put, range(count)))


def imported_keys(ledger):
    """The sorted keys of all imports, repeated for each delivery."""
    keys, cursor = [], None
    while True:
        page = ledger.history.deliveries(DeliveryQuery(kind=Kind.IMPORT, limit=200, cursor=cursor))
        keys += [delivery.key for delivery in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return sorted(keys)


def record_list_calls(relay):
    """Return a list to which every following list request is added."""
    calls = []
    client = relay.plugins.sources["exports"].client
    client.meta.events.register("before-send.s3.ListObjectsV2", lambda **_: calls.append(1))
    return calls


def test_all_of_2000_objects_are_found_exactly_once(world, fill):
    relay = world.relay()
    relay.operations.scan("exports")
    notifications = fill(COUNT)
    unannounced = sorted(notifications)[::UNANNOUNCED_EVERY]
    announced = [key for key in notifications if key not in set(unannounced)]

    def post(key):
        accept(relay, notifications[key])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(post, announced + announced[::7]))  # some twice
    for key in announced[::50]:  # some also through the queue
        body = json.dumps(notifications[key])
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=body)
    queue = relay.plugins.sources["exports"].queue()
    world.stack.callback(queue.close)
    relay.queue_poller.wait = 0
    while relay.queue_poller.poll_once("exports", queue):
        pass
    assert imported_keys(relay.ledger) == sorted(announced)

    list_calls = record_list_calls(relay)
    found = relay.operations.scan("exports")["found"]
    assert found == len(unannounced) == COUNT // UNANNOUNCED_EVERY
    assert len(list_calls) == COUNT // 1000
    assert imported_keys(relay.ledger) == sorted(notifications)

    for key in unannounced[::3]:  # some notifications were only late
        post(key)
    assert relay.operations.scan("exports")["found"] == 0
    assert imported_keys(relay.ledger) == sorted(notifications), "a delivery for each object"


def test_a_killed_scan_is_resumed_at_the_stored_position(world, fill):
    fill(2500)
    process = world.process("scan", "exports", "--everything")

    def position():
        scan = world.ledger.scans.last("exports")
        return scan and scan.cursor

    until(position, 30, world.log)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    assert not world.ledger.scans.last("exports").finished, (
        "the kill was too late to prove anything"
    )
    interrupted = world.ledger.scans.last("exports")
    relay = world.relay()
    resumed = relay.operations.scan("exports")
    assert (resumed["resumed"], resumed["finished"], resumed["first"]) == (True, True, False)
    assert resumed["listed"] == 2500 - interrupted.listed
    keys = imported_keys(relay.ledger)
    assert len(keys) == len(set(keys)) == 2500
