"""How long a storage waits for the answer to a notification while its own objects come slowly.

`relay serve` over real sockets, a store that takes seconds for each answer, a target that takes
imports: each client posts, one notification after the other, each about another object. One table.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import archives
import servers
import ways

DELAYS = (0, 3)
CLIENTS = (1, 8)
EACH = 400
"""Notifications of one client; with QUICK 50."""

TOKEN = "hook-token"


def configuration(folder, ports):
    """relay.toml for one source, one target, one route."""
    tables = {
        "database": {"url": f"sqlite:///{folder}/relay.db"},
        "sources.exports": {
            "kind": "s3",
            "endpoint_url": f"http://127.0.0.1:{ports['store']}",
            "region": "us-east-1",
            "access_key_id": "key",
            "secret_access_key": "secret",
            "addressing_style": "path",
            "token": TOKEN,
        },
        "targets.prod": {
            "kind": "functiongraph",
            "region": "cn-north-4",
            "project_id": ways.PROJECT,
            "endpoint": f"http://127.0.0.1:{ports['sink']}",
            "access_key": "key",
            "secret_key": "secret",
        },
    }
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(one)}" for key, one in table.items()), ""]
    return "\n".join([*lines, '[[routes]]\nsource = "exports"\nkey = "*.zip"\ntarget = "prod"\n'])


@contextmanager
def serving(folder, *options):
    """The port of `relay serve`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "relay", "serve", "--port", str(port), *options]
    environment = {**os.environ, "RELAY_CONFIG": str(folder / "relay.toml"), "no_proxy": "*"}
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            while not answers(port):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            yield port
        finally:
            process.kill()
            process.wait()


def answers(port):
    """Whether a worker is there: the socket is open before."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def notification(name, number):
    about = {"key": f"{name}/hello.zip", "size": 1, "eTag": "e", "sequencer": f"{number:016x}"}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-11-24T03:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "exports"}, "object": about},
    }
    return json.dumps({"Records": [record]})


def post_all(port, client, count):
    """Seconds until each answer, over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    waited = []
    for number in range(count):
        body = notification(f"{client}-{number}", number)
        begin = time.perf_counter()
        connection.request("POST", "/hooks/exports", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        waited.append(time.perf_counter() - begin)
        assert answer.status == 200, told
        assert json.loads(told)["events"] == 1, told
    connection.close()
    return waited


def measured(port, clients, count):
    """Seconds, sorted, and notifications a second."""

    def post(client):
        return post_all(port, f"{clients}-{client}", count)

    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        heard = list(pool.map(post, range(clients)))
    waited = sorted(one for those in heard for one in those)
    return waited, len(waited) / (time.perf_counter() - begin)


def row(words, delay, clients, found, asked):
    waited, rate = found
    at = [waited[min(int(len(waited) * share), len(waited) - 1)] for share in (0.5, 0.99, 1)]
    figures = "".join(f"{one * 1000:>8.1f}" for one in at)
    say(f"{words:<16}{delay:>9.0f} s{clients:>9}{figures}{rate:>9.0f}{asked:>8}")


say = partial(print, flush=True)


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
    store = servers.running("store", delay, folder / "hello.zip")
    with store as store_port, servers.running("sink") as sink_port:
        ports = {"store": store_port, "sink": sink_port}
        (folder / "relay.toml").write_text(configuration(folder, ports))
        with serving(folder, *options) as port:
            post_all(port, "warm", 20)
            for clients in CLIENTS:
                servers.told(store_port)
                found = measured(port, clients, count)
                asked = servers.told(store_port)["requests"]
                assert not options or not asked, "the store was asked before the answer"
                row(words, delay, clients, found, asked)


if __name__ == "__main__":
    main(*sys.argv[1:])
