"""How long a storage waits for the answer to a notification while its own objects come slowly.

`relay serve` over real sockets, a store that takes seconds for each answer, a target that takes
imports: each client posts, one notification after the other, each about another object. One table.
"""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from pathlib import Path

import archives
import places
import servers
from load import Load

DELAYS = (0, 3)
CLIENTS = (1, 8)
EACH = 400
"""Notifications of one client; with QUICK 50."""

say = partial(print, flush=True)


def posted(port, clients, count, about):
    """What was heard of so many notifications, each of them new."""
    names = [f"{clients}-{number}" for number in range(clients * count)]
    heard = Load(port, clients, **about).run(names)
    assert len(heard.accepted) == len(names), f"{heard.refused} were refused"
    return heard


def row(words, delay, clients, heard, asked):
    figures = "".join(f"{heard.at(share):>8.1f}" for share in (0.5, 0.99, 1))
    say(f"{words:<16}{delay:>9.0f} s{clients:>9}{figures}{heard.rate:>9.0f}{asked:>8}")


def main(*arguments):
    os.environ["no_proxy"] = "*"
    count = 50 if "QUICK" in arguments else EACH
    head = f"{'worker':<16}{'store waits':>11}{'clients':>9}{'p50 ms':>8}{'p99 ms':>8}{'max':>8}"
    say(f"{head}{'a second':>9}{'asked':>8}")
    for delay in DELAYS:
        for words, options in (("none", ["--no-worker"]), ("in the process", [])):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                archives.write_stored(folder / "hello.zip", 100_000)
                measure(folder, delay, words, options, count)


def measure(folder, delay, words, options, count):
    archive = folder / "hello.zip"
    store = servers.running("store", delay, archive)
    with store as store_port, servers.running("sink") as sink_port:
        places.write_settings(folder, store_port, {"endpoint": f"http://127.0.0.1:{sink_port}"})
        with places.serving(folder, *options) as (port, _):
            about = servers.described(archive)
            Load(port, 1, **about).run([f"warm-{number}" for number in range(20)])
            for clients in CLIENTS:
                servers.told(store_port)
                heard = posted(port, clients, count, about)
                asked = servers.told(store_port)["requests"]
                assert not options or not asked, "the store was asked before the answer"
                row(words, delay, clients, heard, asked)


if __name__ == "__main__":
    main(*sys.argv[1:])
