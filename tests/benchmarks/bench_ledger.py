"""Measures accepting and claiming with a short history and with a million deliveries.

It runs on both engines and prints the query plans. `python bench_ledger.py QUICK` omits the
million. For comparison: huey on SQLite with fsync, if installed. huey removes a task from the queue
before it runs the task.
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
from itertools import count
from pathlib import Path

import database
import history
import plans

from relay.ledger import Ledger, NewNotification, RoutedEvent
from relay.model import Event, Incoming, Kind, NewDelivery, ObjectRef, Succeeded, Verdict

SIZES = (1_000, 100_000, 1_000_000)
ROUTED = (NewDelivery("exports#1", "prod", {"on_conflict": "skip"}, ("ops",)),)
LEASE = timedelta(seconds=30)
EACH = 200
say = partial(print, flush=True)


def accept(ledger, name):
    """Accept a new event; return the seconds until it is durable."""
    now = datetime.now(UTC)
    started = time.perf_counter()
    ref = ObjectRef("exports", f"prod/{name}.zip", etag=str(name), size=1000)
    event = Event(ref, f"etag:{name}", "ObjectCreated:Put", now)
    incoming = Incoming("exports", b'{"Records": []}' * 40, now)
    new = NewNotification(incoming, Verdict.ACCEPTED, None, ("bare",))
    ledger.intake.accept(new, [RoutedEvent(event, ROUTED)], now)
    return time.perf_counter() - started


def run_delivery(ledger):
    """Claim and finish a delivery; return the seconds of both."""
    now = datetime.now(UTC)
    started = time.perf_counter()
    claim = ledger.queue.claim("bench", LEASE, {}, now, kind=Kind.IMPORT)
    claimed = time.perf_counter()
    assert ledger.outcomes.finish(claim, Succeeded({}), now)
    return claimed - started, time.perf_counter() - claimed


def percentile(seconds, share):
    return sorted(seconds)[min(int(len(seconds) * share), len(seconds) - 1)] * 1000


def measure_engine(engine, create_database, sizes):
    """Measure accepting and claiming with a growing history; return the query plans by size.

    Each size has a ledger, and they are measured in turns, so that a disturbance affects all of
    them. `create_database` returns the URL of a new database.
    """
    ledgers, plans_by_size = {}, {}
    for size in sizes:
        url = create_database()
        ledgers[size] = Ledger.open(url)
        ledgers[size].administration.migrate()
        history.grow(url, 0, size, datetime.now(UTC))
        with plans.record_statements(ledgers[size]) as statements:
            accept(ledgers[size], f"{size}-0")
            run_delivery(ledgers[size])
        plans_by_size[size] = plans.explain(ledgers[size], statements)
    took = {size: ([], [], []) for size in sizes}
    for number in range(EACH):
        for size, ledger in ledgers.items():
            seconds = (accept(ledger, f"{size}-{number}x"), *run_delivery(ledger))
            for duration, durations in zip(seconds, took[size], strict=True):
                durations.append(duration)
    claimed = {size: percentile(claims, 0.5) for size, (_, claims, _) in took.items()}
    for size, ledger in ledgers.items():
        shown = "".join(f"{percentile(durations, 0.5):>12.2f}" for durations in took[size])
        say(f"{engine:<12}{size:>12,}{shown}{claimed[size] / claimed[sizes[0]]:>10.2f}")
        ledger.close()
    return plans_by_size


def measure_engines(folder, sizes):
    """Print the table of both engines, then the query plans."""
    names = ("accept ms", "claim ms", "finish ms")
    say(f"{'':<12}{'deliveries':>12}{''.join(f'{name:>12}' for name in names)}{'claim x':>10}")
    all_plans = {"SQLite": measure_engine("SQLite", _files(folder), sizes)}
    with database.running() as create_database:
        if create_database:
            all_plans["PostgreSQL"] = measure_engine("PostgreSQL", create_database, sizes)
        else:
            say("The server of PostgreSQL is not installed: rows without PostgreSQL")
    for engine, by_size in all_plans.items():
        for line in plans.lines(engine, by_size):
            say(line)


def _files(folder):
    names = count()
    return lambda: f"sqlite:///{folder}/history{next(names)}.db"


def accept_saturated(ledger, threads, number):
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        took = list(pool.map(partial(accept, ledger), range(number)))
    return number / (time.perf_counter() - started), took


def accept_paced(ledger, rate, number):
    """Accept at a constant rate, in threads, as a web server does."""
    took = []

    def accept_timed(name):
        took.append(accept(ledger, name))

    started = time.perf_counter()
    with ThreadPoolExecutor(32) as pool:
        for index in range(number):
            time.sleep(max(started + index / rate - time.perf_counter(), 0))
            pool.submit(accept_timed, f"paced-{index}")
    return took


def enqueue_in_huey(folder, number):
    """For comparison: durable enqueues in huey, from the same number of threads."""
    from huey import SqliteHuey

    huey = SqliteHuey(filename=str(folder / "huey.db"), fsync=True)
    task = huey.task()(lambda name: name)
    with ThreadPoolExecutor(32) as pool:
        started = time.perf_counter()
        list(pool.map(task, range(number)))
    return number / (time.perf_counter() - started)


def _latencies(seconds):
    return f"p50 {percentile(seconds, 0.5):.1f} ms, p99 {percentile(seconds, 0.99):.1f} ms"


def main(sizes):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measure_engines(folder, sizes)
        ledger = Ledger.open(f"sqlite:///{folder}/new.db")
        ledger.administration.migrate()
        alone = [accept(ledger, f"alone-{number}") for number in range(300)]
        say(f"accept, sequentially: {_latencies(alone)}")
        rate, took = accept_saturated(ledger, 32, 6000)
        say(f"accept, 32 threads: {rate:.0f}/s, {_latencies(took)} (1,500/s, 150 ms promised)")
        took = accept_paced(ledger, 400, 2000)
        say(f"accept, at 400/s: {_latencies(took)} (10 promised)")
        ledger.close()
        if importlib.util.find_spec("huey"):
            say(f"huey (SQLite, fsync), 32 threads: {enqueue_in_huey(folder, 1500):.0f} enqueues/s")
        else:
            say("huey is not installed: no row for huey")
    assert threading.active_count() < 8, "threads were left running"


if __name__ == "__main__":
    main(SIZES[:2] if "QUICK" in sys.argv else SIZES)
