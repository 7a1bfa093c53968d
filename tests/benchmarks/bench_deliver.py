"""Measures deliveries end to end: notification, archive of 1 MiB, import.

Web and workers are separate processes with a ledger on SQLite; the cloud and the store are cheap
servers. For comparison, a simple script on huey (peer.py). At the end each is killed halfway and
restarted, to count lost and repeated imports. `python bench_deliver.py QUICK` runs a smaller load.
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
import processes
import servers
from load import Load

MIB = 1024 * 1024
COUNT = 400
WORKERS = 4
PACED = 5
"""Notifications per second while the latency is measured."""

ROUTE = {"source": "exports", "key": "*/hello.zip", "target": "prod", "func_name": "{1}"}
"""All objects have the same content; the key is the name of the function."""

say = partial(print, flush=True)


class Relay:
    """Relay: a web process and two workers."""

    def __init__(self, folder, store, target):
        processes.write_settings(folder, store, target.settings, route=ROUTE, workers=WORKERS)
        self.folder = folder

    @contextmanager
    def running(self):
        with ExitStack() as stack:
            port, web = stack.enter_context(processes.serving(self.folder, "--no-worker"))
            work = [
                stack.enter_context(processes.running(self.folder, processes.relay("work")))
                for _ in range(2)
            ]
            yield port, [web, *work]


class Script:
    """The script on huey: a web process and a consumer with the same number of threads."""

    def __init__(self, folder, store, target):
        self.folder = folder
        settings = {
            "queue": str(folder / "huey.db"),
            "store": f"http://127.0.0.1:{store}",
            "import": target.address,
            "token": "t",
        }
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        self.environment = {"PEER": json.dumps(settings), "PYTHONPATH": path}

    @contextmanager
    def running(self):
        start = partial(processes.running, self.folder, **self.environment)
        port = processes.free_port()
        peer = [sys.executable, Path(__file__).parent / "peer.py"]
        is_ready = partial(processes.responds, port, "/")
        with (
            start([*peer, "web", port], is_ready) as web,
            start([*peer, "work", 2 * WORKERS]) as work,
        ):
            yield port, [web, work]


class Bench:
    """A measured system with a separate cloud and store."""

    def __init__(self, folder, kind, store, target):
        self.system = kind(folder, store, target)
        self.cloud = target
        self.fields = servers.object_fields(folder / "hello.zip")

    def measure(self, count):
        """Return deliveries per second, CPU ms of each, and sorted latencies."""
        with self.system.running() as (port, processes):
            self._import_all(port, "w", 2 * WORKERS, 20)
            before, started = sum(process.cpu for process in processes), time.time()
            done = self._import_all(port, "f", 2 * WORKERS, count)
            cpu = (sum(process.cpu for process in processes) - before) / count * 1000
            rate = count / (max(done.values()) - started)
            sent = time.time()
            paced = self._import_all(port, "p", 4, count // 4, PACED)
            due = {f"p{number}": sent + number / PACED for number in range(count // 4)}
            latencies = sorted(paced[name] - due[name] for name in due)
        return rate, cpu, latencies

    def kill(self, count):
        """Kill all processes halfway and restart them; count accepted, lost and repeated."""
        with self.system.running() as (port, processes):
            names = [f"k{number}" for number in range(count)]
            accepted = set(Load(port, 8, **self.fields).run(names).accepted)
            while len(self._imports("k")) < count // 3:
                time.sleep(0.02)
            for process in processes:
                process.kill()
        with self.system.running():
            self.cloud.wait_for(accepted)
        done = [name for name, _ in self._imports("k")]
        return len(accepted), len(accepted - set(done)), len(done) - len(set(done))

    def _import_all(self, port, letter, clients, count, rate=None):
        """Post `count` notifications; return the start time of each import by name."""
        names = [f"{letter}{number}" for number in range(count)]
        result = Load(port, clients, rate=rate, **self.fields).run(names)
        assert len(result.accepted) == count, result.refused
        done = dict(self.cloud.wait_for(set(names)))
        return {name: done[name] for name in names}

    def _imports(self, letter):
        return [item for item in self.cloud.imports() if item[0].startswith(letter)]


def measure(label, kind, count):
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        archives.write_stored(folder / "hello.zip", MIB)
        store = stack.enter_context(servers.running("store", 0, folder / "hello.zip"))
        target = stack.enter_context(cloud.running(folder / "hello.zip"))
        bench = Bench(folder, kind, store, target)
        rate, cpu, latencies = bench.measure(count)
        accepted, lost, twice = bench.kill(count // 2)
    p50, p99 = statistics.median(latencies) * 1000, latencies[int(len(latencies) * 0.99)] * 1000
    shown = f"{rate:>9.1f}{cpu:>9.1f}{p50:>9.0f}{p99:>9.0f}{accepted:>10}{lost:>6}{twice:>7}"
    say(f"{label:<26}{shown}")
    return rate, p50, lost, twice


def main(*arguments):
    count = COUNT // 4 if "QUICK" in arguments else COUNT
    names = ("a second", "CPU ms", "p50 ms", "p99 ms")
    head = "".join(f"{name:>9}" for name in names)
    say(f"{'':<26}{head}{'killed at':>10}{'lost':>6}{'twice':>7}")
    rate, p50, lost, twice = measure("relay, from S3", Relay, count)
    if importlib.util.find_spec("huey"):
        script = measure("huey, a script's task", Script, count)
        say(f"relay delivers {rate / script[0]:.2f} times as many as the script, with checks")
    else:
        say("huey is not installed: no row for huey")
    say(f"{rate:.0f} deliveries a second (100 promised)")
    say(f"{p50:.0f} ms from the notification to the import call's first byte (100 promised)")
    assert not lost, f"{lost} were lost"
    assert not twice, f"{twice} were imported twice"


if __name__ == "__main__":
    main(*sys.argv[1:])
