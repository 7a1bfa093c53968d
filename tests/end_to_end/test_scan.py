"""Two thousand uploads, some of them never announced: all are found, none twice."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from relay.ledger import DeliveryQuery
from relay.model import Incoming, Kind, utc_now

COUNT = 2000
UNTOLD = 20
"""Every so many uploads, one is not announced."""


@pytest.fixture
def fill(world, tools):
    """Puts that many small objects; returns their notifications by key, as S3 writes them.

    Behind the server's door: thousands of requests for it would take ten times as long as the
    rest, and it is the listing that is looked at here.
    """
    shelf = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]

    def put(number):
        key, body = f"prod/{number:05d}.zip", f"archive {number}".encode()
        etag = shelf.put_object("exports", key, body).etag.strip('"')
        time = utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return key, tools.record(key, etag, len(body), time=time, sequencer=f"{number:016X}")

    def fill(count):
        return dict(map(put, range(count)))

    return fill


def every(ledger):
    """The keys of all imports, one for each delivery."""
    keys, cursor = [], None
    while True:
        page = ledger.history.deliveries(DeliveryQuery(kind=Kind.IMPORT, limit=200, cursor=cursor))
        keys += [one.key for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return sorted(keys)


def calls(relay):
    """Fills with each list call that goes over the wire from now on."""
    seen = []
    client = relay.plugins.sources["exports"].client
    client.meta.events.register("before-send.s3.ListObjectsV2", lambda **_: seen.append(1))
    return seen


@pytest.mark.no_cover  # much of the same
def test_of_2000_objects_all_are_found_and_none_twice(world, tools, fill):
    relay = world.relay()
    relay.operations.scan("exports")
    records = fill(COUNT)
    untold = sorted(records)[::UNTOLD]
    told = [key for key in records if key not in set(untold)]
    headers = {"authorization": f"Bearer {tools.token}"}

    def hook(key):
        body = json.dumps(records[key]).encode()
        relay.intake.accept(Incoming("exports", body, utc_now(), headers=headers))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(hook, told + told[::7]))  # some twice
    for key in told[::50]:  # some by queue as well
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=json.dumps(records[key]))
    queue = relay.plugins.sources["exports"].queue()
    world.stack.callback(queue.close)
    relay.queue_poller.wait = 0
    while relay.queue_poller.poll_once("exports", queue):
        pass
    assert every(relay.ledger) == sorted(told)

    listed = calls(relay)
    assert relay.operations.scan("exports")["found"] == len(untold) == COUNT // UNTOLD
    assert len(listed) == COUNT // 1000
    assert every(relay.ledger) == sorted(records)

    for key in untold[::3]:  # the news of some was only late
        hook(key)
    assert relay.operations.scan("exports")["found"] == 0
    assert every(relay.ledger) == sorted(records), "a delivery for each object"


def test_a_scan_that_was_killed_goes_on_where_it_was(world, tools, fill):
    fill(2500)
    process = world.process("scan", "exports", "--everything")

    def place():
        scan = world.ledger.scans.last("exports")
        return scan and scan.cursor

    tools.until(place, 30, world.log)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    assert not world.ledger.scans.was_completed("exports"), (
        "it was killed too late to show anything"
    )
    left = world.ledger.scans.last("exports")
    relay = world.relay()
    again = relay.operations.scan("exports")
    assert (again["resumed"], again["finished"], again["first"]) == (True, True, False)
    assert again["listed"] == 2500 - left.listed
    keys = every(relay.ledger)
    assert len(keys) == len(set(keys)) == 2500
