"""The ledger: what accepting and claiming cost, with no history and with a million deliveries.

`python bench_ledger.py QUICK` leaves the million out. Beside it, where it is installed, huey on
SQLite with fsync: a queue that takes things out before it runs them.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import history

from relay.model import Event, Incoming, Kind, NewDelivery, ObjectRef, Succeeded, Verdict
from relay.store import Arrival, NewNotification, Store

SIZES = (1_000, 100_000, 1_000_000)
ROUTED = (NewDelivery("exports#1", "prod", {"on_conflict": "skip"}, ("ops",)),)
LEASE = timedelta(seconds=30)
say = partial(print, flush=True)


def accept(store, name):
    """Seconds until one new event is durable."""
    now = datetime.now(UTC)
    began = time.perf_counter()
    ref = ObjectRef("exports", f"prod/{name}.zip", etag=str(name), size=1000)
    event = Event(ref, f"etag:{name}", "ObjectCreated:Put", now)
    incoming = Incoming("exports", b'{"Records": []}' * 40, now)
    new = NewNotification(incoming, Verdict.ACCEPTED, None, ("bare",))
    store.accept(new, [Arrival(event, ROUTED)], now)
    return time.perf_counter() - began


def worked(store):
    """Seconds that claiming one delivery takes, and finishing it."""
    now = datetime.now(UTC)
    began = time.perf_counter()
    claim = store.claim("bench", LEASE, {}, now, kind=Kind.IMPORT)
    claimed = time.perf_counter()
    assert store.finish(claim, Succeeded({}), now)
    return claimed - began, time.perf_counter() - claimed


def at(seconds, part):
    return sorted(seconds)[min(int(len(seconds) * part), len(seconds) - 1)] * 1000


def by_history(folder, sizes):
    """Accepting and claiming, one after the other, over more and more history."""
    say(f"{'deliveries':>12}{'accept ms':>12}{'claim ms':>12}{'finish ms':>12}{'claim x':>10}")
    first = None
    for size in sizes:
        store = history.filled(folder / f"{size}.db", size, datetime.now(UTC))
        accepted = [accept(store, f"{size}-{number}") for number in range(300)]
        claims, finishes = zip(*(worked(store) for _ in range(200)), strict=True)
        first = first or at(claims, 0.5)
        figures = (at(accepted, 0.5), at(claims, 0.5), at(finishes, 0.5))
        shown = "".join(f"{figure:>12.2f}" for figure in figures)
        say(f"{size:>12,}{shown}{at(claims, 0.5) / first:>10.2f}")
        store.close()


def saturated(store, threads, number):
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        took = list(pool.map(partial(accept, store), range(number)))
    return number / (time.perf_counter() - began), took


def paced(store, rate, number):
    """Accepts at an even pace, each in a thread of its own, as requests come."""
    took = []

    def one(name):
        took.append(accept(store, name))

    began = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        for place in range(number):
            time.sleep(max(began + place / rate - time.perf_counter(), 0))
            pool.submit(one, f"paced-{place}")
    return took


def queue_of_huey(folder, number):
    """The peer: durable enqueues from as many threads."""
    from huey import SqliteHuey

    huey = SqliteHuey(filename=str(folder / "huey.db"), fsync=True)
    task = huey.task()(lambda name: name)
    with ThreadPoolExecutor(32) as pool:
        began = time.perf_counter()
        list(pool.map(task, range(number)))
    return number / (time.perf_counter() - began)


def main(sizes):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        by_history(folder, sizes)
        store = Store.open(f"sqlite:///{folder}/new.db")
        store.migrate()
        alone = [accept(store, f"alone-{number}") for number in range(300)]
        say(f"accept, one by one: p50 {at(alone, 0.5):.1f} ms, p99 {at(alone, 0.99):.1f} ms")
        rate, took = saturated(store, 32, 6000)
        say(
            f"accept, 32 threads: {rate:.0f}/s durable, p50 {at(took, 0.5):.1f} ms, "
            f"p99 {at(took, 0.99):.1f} ms (1,500/s and 150 ms promised)"
        )
        took = paced(store, 400, 2000)
        say(
            f"accept, at 400/s: p50 {at(took, 0.5):.1f} ms, "
            f"p99 {at(took, 0.99):.1f} ms (10 promised)"
        )
        store.close()
        if importlib.util.find_spec("huey"):
            say(f"huey (SQLite, fsync), 32 threads: {queue_of_huey(folder, 1500):.0f} enqueues/s")
        else:
            say("huey is not installed: its line is left out")
    assert threading.active_count() < 8, "threads were left running"


if __name__ == "__main__":
    main(SIZES[:2] if len(sys.argv) > 1 else SIZES)
