"""Taking notifications: Relay, which stores each before it answers, beside Debian's `webhook`.

Both get the same load. `webhook` (github.com/adnanh/webhook) answers first and starts its command
then; here one that does what is least: it writes the object's key down. Then, under load, each is
killed with all that it started, as when a container ends, and started again: what was answered
with 200 and is nowhere? `python bench_hook.py QUICK` takes less of everything.
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
import places
from load import Load

from relay.ledger import Ledger

COUNT = 6000
PACED = 400
KILLED_AFTER = 2.0
"""Seconds."""

say = partial(print, flush=True)


@contextmanager
def relay(folder, url=None, **environment):
    """Web alone: port, path, its process, and how to ask what it has."""
    places.write_settings(folder, 9, {"endpoint": "http://127.0.0.1:9"}, database=url)
    with places.serving(folder, "--no-worker", **environment) as (port, process):
        yield port, "/hooks/exports", process, partial(stored, folder, url)


def stored(folder, url):
    """Whose events a restarted relay has."""
    with places.serving(folder, "--no-worker"):
        pass
    if url is None:
        with sqlite3.connect(folder / "relay.db") as ledger:
            rows = ledger.execute("SELECT key FROM events").fetchall()
        return {key.partition("/")[0] for (key,) in rows}
    store = Ledger.open(url)
    with store._database.read() as connection:
        rows = connection.exec_driver_sql("SELECT key FROM events").fetchall()
    store.close()
    return {key.partition("/")[0] for (key,) in rows}


@contextmanager
def webhook(folder):
    """Debian's webhook, with a command that appends the key to a file."""
    script = folder / "command"
    script.write_text(f'#!/bin/sh\necho "$1" >> {folder}/done\n')
    script.chmod(0o755)
    key = {"source": "payload", "name": "Records.0.s3.object.key"}
    token = {"source": "header", "name": "Authorization"}
    match = {"type": "value", "value": f"Bearer {places.TOKEN}", "parameter": token}
    hook = {"id": "exports", "execute-command": str(script), "trigger-rule": {"match": match}}
    hook |= {"pass-arguments-to-command": [key], "command-working-directory": str(folder)}
    (folder / "hooks.json").write_text(json.dumps([hook]))
    port = places.free_port()
    command = ["webhook", "-hooks", folder / "hooks.json", "-ip", "127.0.0.1", "-port", port]
    there = partial(places.answers, port, "/")
    with places.running(folder, command, there) as process:
        yield port, "/hooks/exports", process, partial(written, folder)


def written(folder):
    """Whose command ran; what is still running has a moment to end."""
    time.sleep(2)
    file = folder / "done"
    return {line.partition("/")[0] for line in file.read_text().split("\n")}


def loaded(port, path, clients, names, rate=None):
    heard = Load(port, clients, path=path, rate=rate).run(names)
    assert not heard.refused, f"{heard.refused} were refused"
    return heard


def quiet(process):
    """Waits until it does nothing any more: webhook's commands run after its answers."""
    before = process.cpu
    while True:
        time.sleep(1)
        before, gone = process.cpu, before
        if before - gone < 0.1:
            return


def killed(port, path, process):
    """What was answered with 200 until the process died under the load."""
    timer = threading.Timer(KILLED_AFTER, process.kill)
    timer.start()
    heard = Load(port, 32, path=path, rate=PACED).run(f"k{number}" for number in range(100_000))
    timer.join()
    return heard.accepted


def measure(words, server, count):
    port, path, process, done = server
    loaded(port, path, 4, [f"w{number}" for number in range(200)])
    before = process.cpu
    runs = [loaded(port, path, 32, [f"{turn}{number}" for number in range(count)]) for turn in "ab"]
    cpu = (process.cpu - before) / (2 * count) * 1000
    full = max(runs, key=lambda heard: heard.rate)
    quiet(process)
    paced = loaded(port, path, 32, [f"p{number}" for number in range(count // 3)], PACED)
    quiet(process)
    accepted = killed(port, path, process)
    lost = set(accepted) - done()
    figures = (full.rate, cpu, full.at(0.5), full.at(0.99), paced.at(0.5), paced.at(0.99))
    shown = "".join(f"{figure:>10.1f}" for figure in figures)
    say(f"{words:<34}{shown}{len(accepted):>10}{len(lost):>7}")
    return full, lost


def main(*arguments):
    count = COUNT // 6 if "QUICK" in arguments else COUNT
    names = ("a second", "CPU ms", "p50 ms", "p99 ms", "p50 at 400", "p99")
    say(f"{'':<34}{''.join(f'{name:>10}' for name in names)}{'killed at':>10}{'lost':>7}")
    with ExitStack() as stack:
        new = stack.enter_context(database.running())
        begun = [("relay, SQLite", relay, {})]
        if new:
            begun.append(("relay, PostgreSQL", relay, {"url": new()}))
            two = {"url": new(), "WEB_CONCURRENCY": "2"}
            begun.append(("relay, PostgreSQL, two processes", relay, two))
        else:
            say("PostgreSQL's server is not installed: its lines are left out")
        if shutil.which("webhook"):
            begun.append(("webhook, no ledger", webhook, {}))
        else:
            say("webhook is not installed (Debian: apt-get install webhook): its line is left out")
        found = {}
        for words, start, options in begun:
            with tempfile.TemporaryDirectory() as name, start(Path(name), **options) as server:
                found[words] = measure(words, server, count)
    for words, (_, lost) in found.items():
        assert not words.startswith("relay") or not lost, f"{words} lost {len(lost)}"
    if "webhook, no ledger" in found:
        ratio = found["webhook, no ledger"][0].rate / found["relay, SQLite"][0].rate
        say(f"webhook answers {ratio:.1f} times as fast: it keeps nothing")


if __name__ == "__main__":
    main(*sys.argv[1:])
