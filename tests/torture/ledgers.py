"""S2, N1, N2: a ledger locked by another process; chat services that are down."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from time import monotonic, sleep

import psycopg
import requests

from tests.torture.announced import posted_results
from tests.torture.answers import PROBE
from tests.torture.record import Upload
from tests.torture.scenario import Run, scenario
from tests.torture.world import HEADERS, World, wait_until

BURST = 10
"""Messages within a minute; further messages are batched."""

API_TOKEN = "api-token-of-the-torture"


@scenario("S2", "another process holds the ledger")
def locked(run: Run) -> None:
    seconds, rate = run.size(4, 10), run.size(25, 100)
    with run.world() as world:
        url = world.serve().url
        uploads = [world.upload(f"f{n:04}") for n in range(rate * (seconds + 1))]
        baseline = max(_post(world, url, *job)[1] for job in _schedule(uploads[:rate], rate))
        with _lock_ledger(world, seconds), ThreadPoolExecutor(64) as pool:
            responses = list(
                pool.map(lambda job: _post(world, url, *job), _schedule(uploads[rate:], rate))
            )
        statuses = Counter(status for status, _, _ in responses)
        durations = sorted(seconds for _, seconds, _ in responses)
        slowest, p90 = durations[-1], durations[int(len(durations) * 0.9)]
        retry_after = all(after for status, _, after in responses if status == 503)
        world.announce_all(lambda: url, world.not_accepted(uploads))
        world.settle(run.size(60, 300))
        run.runs = len(uploads)
        run.figures |= {"answers": dict(statuses), "slowest s": round(slowest, 1)}
        run.figures["without the lock"] = round(baseline, 1)
        run.must(set(statuses) <= {200, 503}, f"answers: {dict(statuses)}")
        run.must(statuses[503] > 0, "the lock had no effect: this proves nothing")
        run.must(retry_after, "a 503 without Retry-After")
        limit = (5 if run.quick else 3) + baseline
        run.figures["p90 s"] = round(p90, 1)
        run.must(p90 <= limit, f"10 % of the responses took {p90:.1f} s or more")
        run.must(slowest <= 2 * limit, f"the slowest response took {slowest:.1f} s")


def _schedule(uploads: list[Upload], rate: int) -> Iterator[tuple[Upload, float]]:
    """Yield each upload with the time at which it must be posted."""
    start = monotonic()
    for number, upload in enumerate(uploads):
        yield upload, start + number / rate


def _post(world: World, url: str, upload: Upload, at: float) -> tuple[int, float, str | None]:
    sleep(max(at - monotonic(), 0))
    started = monotonic()
    response = requests.post(
        f"{url}/hooks/exports", json=upload.version.record(), headers=HEADERS, timeout=60
    )
    if response.status_code == 200:
        world.record.mark_accepted(upload)
    return response.status_code, monotonic() - started, response.headers.get("Retry-After")


@contextmanager
def _lock_ledger(world: World, seconds: float) -> Iterator[None]:
    """Hold an exclusive lock on the ledger for `seconds`, from the start of the block."""
    locked = threading.Event()
    holder = threading.Thread(target=_hold_lock, args=(world, seconds, locked))
    holder.start()
    assert locked.wait(60), "the ledger could not be locked"
    yield
    holder.join()


def _hold_lock(world: World, seconds: float, locked: threading.Event) -> None:
    if world.ledger.is_sqlite:
        with closing(sqlite3.connect(world.ledger.path, isolation_level=None)) as other:
            other.execute("PRAGMA busy_timeout = 8000")
            other.execute("BEGIN EXCLUSIVE")
            locked.set()
            sleep(seconds)
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(world.url) as connection:
            tables = "notifications, events, deliveries, attempts, gates"
            while not locked.is_set():
                with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
                    connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
                    locked.set()
                    sleep(seconds)


@scenario("N1", "the chat is down, then up again")
def silent_chat(run: Run) -> None:
    number = run.size(30, 500)
    with run.world(channel=f"burst = {BURST}") as world:
        for fault in ({"status": 429, "retry_after": 1}, {"status": 500}, {"drop": True}) * number:
            world.inbox.fault(operation="webhook", **fault)
        url = world.serve().url
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        world.announce_all(lambda: url, uploads)
        wait_until(lambda: _finished(world, "succeeded") == number, run.size(30, 300), world.log)
        posted = len(world.inbox.messages)
        waiting = world.ledger.counts().get(("message", "pending"), 0)
        world.inbox.faults.clear()
        world.settle(run.size(120, 300))  # after a digest, no message is posted for a minute
        after = [m.json for m in world.inbox.messages if m.status == 204 and m.json]
        digests = [len(m["data"]["deliveries"]) for m in after if m["type"] == "digest"]
        run.runs = number
        run.figures |= {"imports done meanwhile": number, "messages waiting": waiting}
        run.figures |= {"posts meanwhile": posted, "messages afterwards": len(after)}
        run.figures["results in digests"] = digests
        run.must(waiting > BURST, "almost no message waited: this proves nothing")
        run.must(len(after) <= BURST, f"{len(after)} messages for {number} imports")
        run.must(bool(digests), "no digest was posted")


@scenario("N2", "the chat is down; failed imports are retriggered or uploaded again")
def order_of_messages(run: Run) -> None:
    """The last message about an object states its last outcome, in each channel.

    An unsent message is replaced by a newer one about the same object.
    """
    third, constants = run.size(3, 60), {PROBE: {"seconds": 1}}
    api = f'[api]\ntokens = ["{API_TOKEN}"]'
    with run.world(channels=("ops", "dev"), channel="burst = 1000", more=api) as world:
        world.may_fail = True
        url = world.serve(constants=constants).url
        world.inbox.fault(operation="webhook", status=500, times=None)
        world.sandbox.fault(operation="import", status=400, times=3 * third)
        uploads = [world.upload(f"f{n:04}") for n in range(3 * third)]
        world.announce_all(lambda: url, uploads)
        wait_until(lambda: _finished(world, "failed") == 3 * third, 60, world.log)
        retriggered, later, repeated = uploads[::3], uploads[1::3], uploads[2::3]
        _retrigger(world, url, retriggered)
        again = [world.upload(upload.function, "2") for upload in repeated]
        world.announce_all(lambda: url, again)
        wait_until(lambda: _finished(world, "succeeded") == 2 * third, 60, world.log)
        world.inbox.faults.clear()
        for number in range(6 * third):
            world.inbox.fault(operation="webhook", status=500 if number % 3 else 204)
        wait_until(lambda: _posted(world, "failed", later) == 2 * third, 60, world.log)
        _retrigger(world, url, later)
        world.settle(run.size(60, 300))
        run.runs = 3 * third
        stale = _posted(world, "failed", [*retriggered, *again])
        query = "select count(*) from deliveries where kind = 'message' and reason = 'superseded'"
        replaced = world.ledger.rows(query)[0][0]
        run.figures |= {"posted": len([*posted_results(world)]), "replaced": replaced}
        run.must(not stale, f"{stale} failures were posted after the success was known")
        recovered = _posted(world, "succeeded", uploads)
        run.must(recovered == 6 * third, f"{recovered} successes were posted")


def _retrigger(world: World, url: str, uploads: list[Upload]) -> None:
    names = {upload.name for upload in uploads}
    for row in world.ledger.deliveries("import"):
        if row.name in names:
            world.retriggered.add(row.id)
            path = f"{url}/api/v1/deliveries/{row.id}/retrigger"
            requests.post(
                path, headers={"Authorization": f"Bearer {API_TOKEN}"}, timeout=30
            ).raise_for_status()


def _finished(world: World, state: str) -> int:
    return world.ledger.counts().get(("import", state), 0)


def _posted(world: World, state: str, uploads: list[Upload]) -> int:
    """Count the posted results of this kind about these objects, in all channels."""
    keys = {upload.version.key for upload in uploads}
    kind = f"import.{state}"
    return sum(1 for each in posted_results(world) if each.kind == kind and each.key in keys)
