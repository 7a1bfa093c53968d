"""Deliveries end to end: notification, archive of 1 MiB, import; how many, how soon, what is lost.

Web and workers as processes of their own over a ledger on SQLite, and a cloud and a store that cost
little. Beside them huey doing what a script would (peer.py). At the end each is killed halfway and
started again: what was accepted and never imported, what twice?
`python bench_deliver.py QUICK` takes less of everything.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import archives
import cloud
import places
import servers
from load import Load

MIB = 1024 * 1024
COUNT = 400
SEATS = 4
PACED = 5
"""Notifications a second, while it is measured how soon an import begins."""

NAMED = {"source": "exports", "key": "*/hello.zip", "target": "prod", "func_name": "{1}"}
"""All objects are the same bytes; each becomes a function named by its key."""

say = partial(print, flush=True)


class Relay:
    """Web and two workers."""

    def __init__(self, folder, store, there):
        places.write_settings(folder, store, there.settings, route=NAMED, workers=SEATS)
        self.folder = folder

    @contextmanager
    def running(self):
        with ExitStack() as stack:
            port, web = stack.enter_context(places.serving(self.folder, "--no-worker"))
            work = [
                stack.enter_context(places.running(self.folder, places.relay("work")))
                for _ in range(2)
            ]
            yield port, [web, *work]


class Script:
    """huey: web and one consumer with as many threads."""

    def __init__(self, folder, store, there):
        self.folder = folder
        told = {
            "queue": str(folder / "huey.db"),
            "store": f"http://127.0.0.1:{store}",
            "import": there.address,
            "token": "t",
        }
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        self.environment = {"PEER": json.dumps(told), "PYTHONPATH": path}

    @contextmanager
    def running(self):
        start = partial(places.running, self.folder, **self.environment)
        port = places.free_port()
        peer = [sys.executable, Path(__file__).parent / "peer.py"]
        up = partial(places.answers, port, "/")
        with (
            start([*peer, "web", port], up) as web,
            start([*peer, "work", 2 * SEATS]) as work,
        ):
            yield port, [web, work]


class Bench:
    """One way to deliver, with its own cloud and store."""

    def __init__(self, folder, kind, store, there):
        self.way = kind(folder, store, there)
        self.cloud = there
        self.about = servers.described(folder / "hello.zip")

    def measure(self, count):
        """Deliveries a second, CPU ms of each (cloud and store apart), and how soon, sorted."""
        with self.way.running() as (port, processes):
            self._all(port, "w", 2 * SEATS, 20)
            before, began = sum(one.cpu for one in processes), time.time()
            done = self._all(port, "f", 2 * SEATS, count)
            cpu = (sum(one.cpu for one in processes) - before) / count * 1000
            rate = count / (max(done.values()) - began)
            sent = time.time()
            paced = self._all(port, "p", 4, count // 4, PACED)
            due = {f"p{number}": sent + number / PACED for number in range(count // 4)}
            soon = sorted(paced[name] - due[name] for name in due)
        return rate, cpu, soon

    def killed(self, count):
        """Everything is killed in the middle and started again: accepted, lost, twice."""
        with self.way.running() as (port, processes):
            names = [f"k{number}" for number in range(count)]
            accepted = set(Load(port, 8, **self.about).run(names).accepted)
            while len(self._those("k")) < count // 3:
                time.sleep(0.02)
            for process in processes:
                process.kill()
        with self.way.running():
            self.cloud.wait_for(accepted)
        done = [name for name, _ in self._those("k")]
        return len(accepted), len(accepted - set(done)), len(done) - len(set(done))

    def _all(self, port, letter, clients, count, rate=None):
        """When each import began, of so many notifications."""
        names = [f"{letter}{number}" for number in range(count)]
        heard = Load(port, clients, rate=rate, **self.about).run(names)
        assert len(heard.accepted) == count, heard.refused
        done = dict(self.cloud.wait_for(set(names)))
        return {name: done[name] for name in names}

    def _those(self, letter):
        return [one for one in self.cloud.imports() if one[0].startswith(letter)]


def measured(words, kind, count, *, from_folder=False):
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        archives.write_stored(folder / "hello.zip", MIB)
        store = stack.enter_context(servers.running("store", 0, folder / "hello.zip"))
        there = stack.enter_context(cloud.running(folder / "hello.zip"))
        bench = Bench(folder, kind, store, there)
        rate, cpu, soon = bench.measure(count)
        accepted, lost, twice = bench.killed(count // 2)
    p50, p99 = statistics.median(soon) * 1000, soon[int(len(soon) * 0.99)] * 1000
    shown = f"{rate:>9.1f}{cpu:>9.1f}{p50:>9.0f}{p99:>9.0f}{accepted:>10}{lost:>6}{twice:>7}"
    say(f"{words:<26}{shown}")
    return rate, p50, lost, twice


def main(*arguments):
    count = COUNT // 4 if "QUICK" in arguments else COUNT
    names = ("a second", "CPU ms", "p50 ms", "p99 ms")
    head = "".join(f"{name:>9}" for name in names)
    say(f"{'':<26}{head}{'killed at':>10}{'lost':>6}{'twice':>7}")
    rate, p50, lost, twice = measured("relay, from S3", Relay, count)
    if importlib.util.find_spec("huey"):
        theirs = measured("huey, a script's task", Script, count)
        say(f"relay delivers {rate / theirs[0]:.2f} times as many as the script, and checks them")
    else:
        say("huey is not installed: its line is left out")
    say(f"{rate:.0f} deliveries a second (100 promised)")
    say(f"{p50:.0f} ms from the notification to the import call's first byte (100 promised)")
    assert not lost, f"{lost} were lost"
    assert not twice, f"{twice} were imported twice"


if __name__ == "__main__":
    main(*sys.argv[1:])
