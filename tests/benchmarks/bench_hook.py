"""Compares Relay, which stores a notification before it responds, with Debian's `webhook`.

Both get the same load. `webhook` (github.com/adnanh/webhook) responds first and then starts a
command, here the cheapest possible: it appends the key of the object to a file. Then each server is
killed under load with all child processes, as when a container ends, and restarted. Notifications
that were answered with 200 and are missing count as lost. `python bench_hook.py QUICK` runs a
smaller load.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import database
import processes
from load import Load

from relay.ledger import Ledger

COUNT = 6000
PACED = 400
KILLED_AFTER = 2.0
"""Seconds."""

say = partial(print, flush=True)


@contextmanager
def relay(folder, url=None, **environment):
    """Start the web part; yield port, path, process, and a function that lists stored names."""
    processes.write_settings(folder, 9, {"endpoint": "http://127.0.0.1:9"}, database=url)
    with processes.serving(folder, "--no-worker", **environment) as (port, process):
        yield port, "/hooks/exports", process, partial(stored, folder, url)


def stored(folder, url):
    """Return the names of the events in the ledger after a restart."""
    with processes.serving(folder, "--no-worker"):
        pass
    if url is None:
        with sqlite3.connect(folder / "relay.db") as connection:
            rows = connection.execute("SELECT key FROM events").fetchall()
        return {key.partition("/")[0] for (key,) in rows}
    ledger = Ledger.open(url)
    with ledger._database.read() as connection:
        rows = connection.exec_driver_sql("SELECT key FROM events").fetchall()
    ledger.close()
    return {key.partition("/")[0] for (key,) in rows}


@contextmanager
def webhook(folder):
    """Start Debian's webhook with a command that appends the key to a file."""
    script = folder / "command"
    script.write_text(f'#!/bin/sh\necho "$1" >> {folder}/done\n')
    script.chmod(0o755)
    key = {"source": "payload", "name": "Records.0.s3.object.key"}
    token = {"source": "header", "name": "Authorization"}
    match = {"type": "value", "value": f"Bearer {processes.TOKEN}", "parameter": token}
    hook = {"id": "exports", "execute-command": str(script), "trigger-rule": {"match": match}}
    hook |= {"pass-arguments-to-command": [key], "command-working-directory": str(folder)}
    (folder / "hooks.json").write_text(json.dumps([hook]))
    port = processes.free_port()
    command = ["webhook", "-hooks", folder / "hooks.json", "-ip", "127.0.0.1", "-port", port]
    is_ready = partial(processes.responds, port, "/")
    with processes.running(folder, command, is_ready) as process:
        yield port, "/hooks/exports", process, partial(written, folder)


def written(folder):
    """Return the names whose command ran, after a pause for commands that still run."""
    time.sleep(2)
    file = folder / "done"
    return {line.partition("/")[0] for line in file.read_text().split("\n")}


def apply_load(port, path, clients, names, rate=None):
    result = Load(port, clients, path=path, rate=rate).run(names)
    assert not result.refused, f"{result.refused} were refused"
    return result


def wait_until_idle(process):
    """Wait until the process group is idle: webhook runs commands after the response."""
    before = process.cpu
    while True:
        time.sleep(1)
        before, previous = process.cpu, before
        if before - previous < 0.1:
            return


def kill_under_load(port, path, process):
    """Kill the process under load; return the names that were answered with 200."""
    timer = threading.Timer(KILLED_AFTER, process.kill)
    timer.start()
    result = Load(port, 32, path=path, rate=PACED).run(f"k{number}" for number in range(100_000))
    timer.join()
    return result.accepted


def measure(label, server, count):
    port, path, process, done = server
    apply_load(port, path, 4, [f"w{number}" for number in range(200)])
    before = process.cpu
    names = [[f"{turn}{number}" for number in range(count)] for turn in "ab"]
    runs = [apply_load(port, path, 32, names_of_turn) for names_of_turn in names]
    cpu = (process.cpu - before) / (2 * count) * 1000
    full = max(runs, key=lambda result: result.rate)
    wait_until_idle(process)
    paced = apply_load(port, path, 32, [f"p{number}" for number in range(count // 3)], PACED)
    wait_until_idle(process)
    accepted = kill_under_load(port, path, process)
    lost = set(accepted) - done()
    percentiles = [load.percentile(share) for load in (full, paced) for share in (0.5, 0.99)]
    figures = (full.rate, cpu, *percentiles)
    shown = "".join(f"{figure:>10.1f}" for figure in figures)
    say(f"{label:<34}{shown}{len(accepted):>10}{len(lost):>7}")
    return full, lost


def main(*arguments):
    count = COUNT // 6 if "QUICK" in arguments else COUNT
    names = ("a second", "CPU ms", "p50 ms", "p99 ms", "p50 at 400", "p99")
    say(f"{'':<34}{''.join(f'{name:>10}' for name in names)}{'killed at':>10}{'lost':>7}")
    with ExitStack() as stack:
        create_database = stack.enter_context(database.running())
        servers = [("relay, SQLite", relay, {})]
        if create_database:
            servers.append(("relay, PostgreSQL", relay, {"url": create_database()}))
            two = {"url": create_database(), "WEB_CONCURRENCY": "2"}
            servers.append(("relay, PostgreSQL, two processes", relay, two))
        else:
            say("The server of PostgreSQL is not installed: rows without PostgreSQL")
        if shutil.which("webhook"):
            servers.append(("webhook, no ledger", webhook, {}))
        else:
            say("webhook is not installed (Debian: apt-get install webhook): no row for webhook")
        results = {}
        for label, start, options in servers:
            with tempfile.TemporaryDirectory() as name, start(Path(name), **options) as server:
                results[label] = measure(label, server, count)
    for label, (_, lost) in results.items():
        assert not label.startswith("relay") or not lost, f"{label} lost {len(lost)}"
    if "webhook, no ledger" in results:
        ratio = results["webhook, no ledger"][0].rate / results["relay, SQLite"][0].rate
        say(f"webhook answers {ratio:.1f} times as fast: it stores nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
