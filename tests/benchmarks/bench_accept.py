"""Measures the response time of the hook while the storage itself is slow.

`relay serve` runs with real sockets, a store that takes seconds for each response, and a target
that accepts imports. Each client posts notifications in sequence, each about a new object.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import archives
import processes
import servers
from load import Load

DELAYS = (0, 3)
CLIENTS = (1, 8)
EACH = 400
"""Notifications of each client; with QUICK 50."""

say = partial(print, flush=True)


def post(port, clients, count, fields):
    """Post `count` new notifications with each client; return the result."""
    names = [f"{clients}-{number}" for number in range(clients * count)]
    result = Load(port, clients, **fields).run(names)
    assert len(result.accepted) == len(names), f"{result.refused} were refused"
    return result


def print_row(worker, delay, clients, result, requests):
    figures = "".join(f"{result.percentile(share):>8.1f}" for share in (0.5, 0.99, 1))
    say(f"{worker:<16}{delay:>9.0f} s{clients:>9}{figures}{result.rate:>9.0f}{requests:>9}")


def main(*arguments):
    os.environ["no_proxy"] = "*"
    count = 50 if "QUICK" in arguments else EACH
    head = f"{'worker':<16}{'store waits':>11}{'clients':>9}{'p50 ms':>8}{'p99 ms':>8}{'max':>8}"
    say(f"{head}{'a second':>9}{'requests':>9}")
    for delay in DELAYS:
        for worker, options in (("none", ["--no-worker"]), ("in the process", [])):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                archives.write_stored(folder / "hello.zip", 100_000)
                measure(folder, delay, worker, options, count)


def measure(folder, delay, worker, options, count):
    archive = folder / "hello.zip"
    store = servers.running("store", delay, archive)
    with store as store_port, servers.running("sink") as sink_port:
        processes.write_settings(folder, store_port, {"endpoint": f"http://127.0.0.1:{sink_port}"})
        with processes.serving(folder, *options) as (port, _):
            fields = servers.object_fields(archive)
            Load(port, 1, **fields).run([f"warm-{number}" for number in range(20)])
            for clients in CLIENTS:
                servers.take_counts(store_port)
                result = post(port, clients, count, fields)
                requests = servers.take_counts(store_port)["requests"]
                assert not options or not requests, "the hook sent requests to the store"
                print_row(worker, delay, clients, result, requests)


if __name__ == "__main__":
    main(*sys.argv[1:])
