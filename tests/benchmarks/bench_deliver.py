"""Deliveries end to end: notification, archive of 1 MiB, import; how many, how soon, what is lost.

Web and workers as processes of their own over a ledger on SQLite, the FunctionGraph sandbox, and a
store that speaks S3 or a folder. Beside them huey doing what a script would (peer.py). At the end
each is killed in the middle and started again: what was accepted and never imported, what twice?
`python bench_deliver.py QUICK` takes less of everything.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import archives
import places
import servers
import ways
from load import Load

MIB = 1024 * 1024
COUNT = 400
SEATS = 4
PACED = 5
"""Notifications a second, while it is measured how soon an import begins."""

WITHIN = 120.0
"""Seconds after which what has not come does not come."""

NAMED = {"source": "exports", "key": "*/hello.zip", "target": "prod", "func_name": "{1}"}
"""All objects are the same bytes; each becomes a function named by its key."""

say = partial(print, flush=True)


class Sandbox:
    """`relay sandbox` in a process of its own, as seen from here."""

    def __init__(self, process):
        self.process = process
        self.told = json.loads(process.stdout.readline())
        self._seen = 0
        self._done = []
        # Else it waits for somebody to read what it says.
        threading.Thread(target=process.stdout.read, daemon=True).start()

    def imports(self):
        """When the import call of each function began, of those that happened; in seconds."""
        # Only what is new: to be told of everything again and again would be much of its work.
        address = f"{self.told['endpoint']}/sandbox/calls?after={self._seen}"
        with urllib.request.urlopen(address) as answer:
            calls = json.load(answer)
        under_way = [number for number, call in enumerate(calls) if not call["finished"]]
        over = calls[: under_way[0]] if under_way else calls
        self._seen += len(over)
        self._done += _imports(over)
        return self._done + _imports(calls[len(over) :])

    def wait_for(self, names):
        """The same, once all these are there, or nothing more comes."""
        end, quiet, seen = time.monotonic() + WITHIN, time.monotonic(), -1
        while time.monotonic() < end:
            done = self.imports()
            if names <= {name for name, _ in done}:
                break
            if len(done) > seen:
                seen, quiet = len(done), time.monotonic()
            if time.monotonic() - quiet > 45:  # a lease and a backoff have passed
                break
            time.sleep(0.2)
        return done


def _imports(calls):
    those = [call for call in calls if call["operation"] == "import" and call["applied"]]
    return [(call["function"], _seconds(call["time"])) for call in those]


def _seconds(text):
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


@contextmanager
def sandboxed():
    command = places.relay("sandbox", "--port", "0", "--json", "--project-id", ways.PROJECT)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Sandbox(process)
        finally:
            process.terminate()


class Relay:
    """Web and two workers."""

    def __init__(self, folder, store, sandbox):
        places.write_settings(folder, store, sandbox.told, route=NAMED, workers=SEATS)
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

    def __init__(self, folder, store, sandbox):
        self.folder = folder
        base = f"{sandbox.told['endpoint']}/v2/{ways.PROJECT}/fgs/functions/import"
        told = {
            "queue": str(folder / "huey.db"),
            "store": f"http://127.0.0.1:{store}",
            "import": base,
            "token": _token(sandbox),
        }
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        self.environment = {"PEER": json.dumps(told), "PYTHONPATH": path}

    @contextmanager
    def running(self):
        start = partial(places.running, self.folder, **self.environment)
        port = places.free_port()
        peer = [sys.executable, Path(__file__).parent / "peer.py"]
        there = partial(places.answers, port, "/")
        with (
            start([*peer, "web", port], there) as web,
            start([*peer, "work", 2 * SEATS]) as work,
        ):
            yield port, [web, work]


def _token(sandbox):
    told = sandbox.told
    user = {"name": told["iam_user"], "password": told["iam_password"]}
    user["domain"] = {"name": told["iam_domain"]}
    identity = {"methods": ["password"], "password": {"user": user}}
    scope = {"project": {"name": told["region"]}}
    body = json.dumps({"auth": {"identity": identity, "scope": scope}}).encode()
    asked = urllib.request.Request(
        f"{told['iam_endpoint']}/v3/auth/tokens",
        body,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        return answer.headers["X-Subject-Token"]


class Bench:
    """One way to deliver, with its own sandbox and store."""

    def __init__(self, folder, kind, store, sandbox):
        self.way = kind(folder, store, sandbox)
        self.sandbox = sandbox
        self.about = servers.described(folder / "hello.zip")

    def measure(self, count):
        """Deliveries a second, CPU ms of each (sandbox and store apart), and how soon, sorted."""
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
            self.sandbox.wait_for(accepted)
        done = [name for name, _ in self._those("k")]
        return len(accepted), len(accepted - set(done)), len(done) - len(set(done))

    def _all(self, port, letter, clients, count, rate=None):
        """When each import began, of so many notifications."""
        names = [f"{letter}{number}" for number in range(count)]
        heard = Load(port, clients, rate=rate, **self.about).run(names)
        assert len(heard.accepted) == count, heard.refused
        done = dict(self.sandbox.wait_for(set(names)))
        return {name: done[name] for name in names}

    def _those(self, letter):
        return [one for one in self.sandbox.imports() if one[0].startswith(letter)]


def measured(words, kind, count, *, from_folder=False):
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        archives.write_stored(folder / "hello.zip", MIB)
        store = stack.enter_context(servers.running("store", 0, folder / "hello.zip"))
        sandbox = stack.enter_context(sandboxed())
        bench = Bench(folder, kind, store, sandbox)
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
