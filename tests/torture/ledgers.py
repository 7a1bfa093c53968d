"""S2, N1: a ledger that somebody else holds; a chat that is down."""

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

from tests.torture.record import Upload
from tests.torture.scenario import Run, scenario
from tests.torture.world import HEADERS, World, until

BURST = 10
"""Messages within a minute: what comes beyond it is told together."""


@scenario("S2", "another process holds the ledger")
def locked(run: Run) -> None:
    seconds, rate = run.size(4, 10), run.size(25, 100)
    with run.world() as world:
        url = world.serve().url
        uploads = [world.upload(f"f{n:04}") for n in range(rate * (seconds + 1))]
        usual = max(_post(world, url, *one)[1] for one in _paced(uploads[:rate], rate))
        with _held(world, seconds), ThreadPoolExecutor(64) as pool:
            answers = list(
                pool.map(lambda one: _post(world, url, *one), _paced(uploads[rate:], rate))
            )
        statuses = Counter(status for status, _, _ in answers)
        took = sorted(seconds for _, seconds, _ in answers)
        slowest, most = took[-1], took[int(len(took) * 0.9)]
        told = all(after for status, _, after in answers if status == 503)
        world.tell(lambda: url, [one for one in uploads if one.name not in world.record.accepted])
        world.settle(run.size(60, 300))
        run.runs = len(uploads)
        run.figures |= {"answers": dict(statuses), "slowest s": round(slowest, 1)}
        run.figures["without the lock"] = round(usual, 1)
        run.must(set(statuses) <= {200, 503}, f"answers: {dict(statuses)}")
        run.must(statuses[503] > 0, "nobody noticed the lock: this proves nothing")
        run.must(told, "a 503 without Retry-After")
        limit = (5 if run.quick else 3) + usual
        run.figures["p90 s"] = round(most, 1)
        run.must(most <= limit, f"one in ten answers took {most:.1f} s and more")
        run.must(slowest <= 2 * limit, f"the slowest answer took {slowest:.1f} s")


def _paced(uploads: list[Upload], rate: int) -> Iterator[tuple[Upload, float]]:
    """Each with the moment at which it is to be posted."""
    begin = monotonic()
    for number, upload in enumerate(uploads):
        yield upload, begin + number / rate


def _post(world: World, url: str, upload: Upload, at: float) -> tuple[int, float, str | None]:
    sleep(max(at - monotonic(), 0))
    began = monotonic()
    answer = requests.post(
        f"{url}/hooks/exports", json=upload.version.record(), headers=HEADERS, timeout=60
    )
    if answer.status_code == 200:
        world.record.took(upload)
    return answer.status_code, monotonic() - began, answer.headers.get("Retry-After")


@contextmanager
def _held(world: World, seconds: float) -> Iterator[None]:
    """Another process's lock on all that is written, for so long, from the first moment on."""
    held = threading.Event()
    holding = threading.Thread(target=_hold, args=(world, seconds, held))
    holding.start()
    assert held.wait(60), "the ledger could not be locked"
    yield
    holding.join()


def _hold(world: World, seconds: float, held: threading.Event) -> None:
    if world.ledger.is_sqlite:
        with closing(sqlite3.connect(world.ledger.path, isolation_level=None)) as other:
            other.execute("PRAGMA busy_timeout = 8000")
            other.execute("BEGIN EXCLUSIVE")
            held.set()
            sleep(seconds)
            other.execute("ROLLBACK")
    else:
        with psycopg.connect(world.url) as connection:
            tables = "notifications, events, deliveries, attempts, gates"
            while not held.is_set():
                with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
                    connection.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
                    held.set()
                    sleep(seconds)


@scenario("N1", "the chat is down, then up again")
def silent_chat(run: Run) -> None:
    number = run.size(30, 500)
    with run.world(channel=f"burst = {BURST}") as world:
        for how in ({"status": 429, "retry_after": 1}, {"status": 500}, {"drop": True}) * number:
            world.inbox.fault(operation="webhook", **how)
        url = world.serve().url
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        world.tell(lambda: url, uploads)
        until(lambda: _ended(world) == number, run.size(30, 300), world.log)
        posted = len(world.inbox.messages)
        waiting = world.ledger.counts().get(("message", "pending"), 0)
        world.inbox.faults.clear()
        world.settle(run.size(120, 300))  # nothing is told for a minute after a digest
        after = [one.json for one in world.inbox.messages if one.status == 204 and one.json]
        digests = [len(one["data"]["deliveries"]) for one in after if one["type"] == "digest"]
        run.runs = number
        run.figures |= {"imports done meanwhile": number, "messages waiting": waiting}
        run.figures |= {"tried meanwhile": posted, "messages afterwards": len(after)}
        run.figures["told by digests"] = digests
        run.must(waiting > BURST, "hardly a message waited: this proves nothing")
        run.must(len(after) <= BURST, f"{len(after)} messages for {number} imports")
        run.must(bool(digests), "no digest came")


def _ended(world: World) -> int:
    return world.ledger.counts().get(("import", "succeeded"), 0)
