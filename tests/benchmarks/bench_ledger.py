"""The ledger: what accepting and claiming cost, over little history and over a million deliveries.

On both engines, with the plans of the statements that it takes. `python bench_ledger.py QUICK`
leaves the million out. Beside it, where it is installed, huey on SQLite with fsync: a queue that
takes things out before it runs them.
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
    """Seconds until one new event is durable."""
    now = datetime.now(UTC)
    began = time.perf_counter()
    ref = ObjectRef("exports", f"prod/{name}.zip", etag=str(name), size=1000)
    event = Event(ref, f"etag:{name}", "ObjectCreated:Put", now)
    incoming = Incoming("exports", b'{"Records": []}' * 40, now)
    new = NewNotification(incoming, Verdict.ACCEPTED, None, ("bare",))
    ledger.intake.accept(new, [RoutedEvent(event, ROUTED)], now)
    return time.perf_counter() - began


def worked(ledger):
    """Seconds that claiming one delivery takes, and finishing it."""
    now = datetime.now(UTC)
    began = time.perf_counter()
    claim = ledger.queue.claim("bench", LEASE, {}, now, kind=Kind.IMPORT)
    claimed = time.perf_counter()
    assert ledger.outcomes.finish(claim, Succeeded({}), now)
    return claimed - began, time.perf_counter() - claimed


def at(seconds, part):
    return sorted(seconds)[min(int(len(seconds) * part), len(seconds) - 1)] * 1000


def by_history(words, new, sizes):
    """Accepting and claiming over more and more history; the plans of what they ask.

    One ledger for each size, measured in turns: what disturbs meanwhile disturbs all of them.
    `new` makes a database and tells its URL.
    """
    stores, told = {}, {}
    for size in sizes:
        url = new()
        stores[size] = Ledger.open(url)
        stores[size].migrate()
        history.grow(url, 0, size, datetime.now(UTC))
        with plans.heard(stores[size]) as statements:
            accept(stores[size], f"{size}-0")
            worked(stores[size])
        told[size] = plans.explained(stores[size], statements)
    took = {size: ([], [], []) for size in sizes}
    for number in range(EACH):
        for size, ledger in stores.items():
            seconds = (accept(ledger, f"{size}-{number}x"), *worked(ledger))
            for one, those in zip(seconds, took[size], strict=True):
                those.append(one)
    claimed = {size: at(claims, 0.5) for size, (_, claims, _) in took.items()}
    for size, ledger in stores.items():
        shown = "".join(f"{at(those, 0.5):>12.2f}" for those in took[size])
        say(f"{words:<12}{size:>12,}{shown}{claimed[size] / claimed[sizes[0]]:>10.2f}")
        ledger.close()
    return told


def of_engines(folder, sizes):
    """The table of both engines, then the plans of what they ran."""
    names = ("accept ms", "claim ms", "finish ms")
    say(f"{'':<12}{'deliveries':>12}{''.join(f'{name:>12}' for name in names)}{'claim x':>10}")
    told = {"SQLite": by_history("SQLite", _files(folder), sizes)}
    with database.running() as new:
        if new:
            told["PostgreSQL"] = by_history("PostgreSQL", new, sizes)
        else:
            say("PostgreSQL's server is not installed: its lines are left out")
    for words, by_size in told.items():
        for line in plans.lines(words, by_size):
            say(line)


def _files(folder):
    names = count()
    return lambda: f"sqlite:///{folder}/history{next(names)}.db"


def saturated(ledger, threads, number):
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        took = list(pool.map(partial(accept, ledger), range(number)))
    return number / (time.perf_counter() - began), took


def paced(ledger, rate, number):
    """Accepts at an even pace, each in a thread of its own, as requests come."""
    took = []

    def one(name):
        took.append(accept(ledger, name))

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
        of_engines(folder, sizes)
        ledger = Ledger.open(f"sqlite:///{folder}/new.db")
        ledger.administration.migrate()
        alone = [accept(ledger, f"alone-{number}") for number in range(300)]
        say(f"accept, one by one: p50 {at(alone, 0.5):.1f} ms, p99 {at(alone, 0.99):.1f} ms")
        rate, took = saturated(ledger, 32, 6000)
        say(
            f"accept, 32 threads: {rate:.0f}/s durable, p50 {at(took, 0.5):.1f} ms, "
            f"p99 {at(took, 0.99):.1f} ms (1,500/s and 150 ms promised)"
        )
        took = paced(ledger, 400, 2000)
        say(
            f"accept, at 400/s: p50 {at(took, 0.5):.1f} ms, "
            f"p99 {at(took, 0.99):.1f} ms (10 promised)"
        )
        ledger.close()
        if importlib.util.find_spec("huey"):
            say(f"huey (SQLite, fsync), 32 threads: {queue_of_huey(folder, 1500):.0f} enqueues/s")
        else:
            say("huey is not installed: its line is left out")
    assert threading.active_count() < 8, "threads were left running"


if __name__ == "__main__":
    main(SIZES[:2] if "QUICK" in sys.argv else SIZES)
