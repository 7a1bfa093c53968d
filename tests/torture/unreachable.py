"""A4: targets that send a byte per second, never connect, stall in TLS, or have no address."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from threading import Thread
from time import sleep
from typing import Self

from tests.torture.latency import compare_latencies, latencies
from tests.torture.scenario import Run, scenario
from tests.torture.world import World

SLOW_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
DEADLINE = 25.0
"""Seconds for two attempts at any of these targets, with the short timeouts of the test."""


class StallingServer:
    """A server that accepts connections and then sends nothing, or a byte per second."""

    def __init__(self, *, trickles: bool) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._trickles = trickles
        self._open: list[socket.socket] = []
        self.port = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in [self._server, *self._open]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self._open.append(connection)
                if self._trickles:
                    sending = Thread(target=self._trickle, args=(connection,), daemon=True)
                    sending.start()

    def _trickle(self, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(SLOW_RESPONSE)
            while True:
                connection.sendall(b" ")
                sleep(1)


class UnreachablePort:
    """A port that never connects: the accept queue is full, so the kernel drops new connections."""

    def __enter__(self) -> Self:
        self._server = socket.socket()
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(0)
        self.port = self._server.getsockname()[1]
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        for filler in [self._server, *self._fillers]:
            filler.close()


TABLE = """
[targets.{name}]
kind = "functiongraph"
region = "cn-north-4"
project_id = "{project}"
endpoint = "{endpoint}"
access_key = "AKAKAKAKAKAKAKAKAKAK"
secret_key = "sksksksksksksksksksksksksksksksksksksksk"

[[routes]]
source = "exports"
key = "{name}/*.zip"
target = "{name}"
channels = ["ops"]
"""


@scenario("A4", "a byte a second, no connection, TLS stalls, no address", alone=True)
def unreachable(run: Run) -> None:
    good, each = run.size(30, 300), run.size(1, 12)
    times = {
        "workers": 8,
        "attempts": 2,
        "connect_timeout": "1s",
        "read_timeout": "2s",
        "stuck_after": "5s",
    }
    with ExitStack() as stack:
        endpoints = {
            "trickle": f"http://127.0.0.1:{stack.enter_context(StallingServer(trickles=True)).port}",
            "hole": f"http://127.0.0.1:{stack.enter_context(UnreachablePort()).port}",
            "stall": f"https://127.0.0.1:{stack.enter_context(StallingServer(trickles=False)).port}",
            "nowhere": "http://nowhere.invalid",
        }
        with run.world(**times) as calm, run.world(lease="3s", **times) as world:
            world.may_fail = True
            _deliver(run, (calm, world), endpoints, (good, each))
            compare_latencies(run, latencies(calm, "g"), latencies(world, "g"))
        run.runs = 4 * each


def _deliver(
    run: Run, worlds: tuple[World, World], endpoints: dict[str, str], numbers: tuple[int, int]
) -> None:
    """Deliver the same good uploads in both worlds; the second world has the bad targets too."""
    (calm, world), (good, each) = worlds, numbers
    project = world.sandbox.project_id
    tables = (
        TABLE.format(name=name, endpoint=endpoint, project=project)
        for name, endpoint in endpoints.items()
    )
    world.configure(more="".join(tables))
    urls = [each_world.serve().url for each_world in worlds]
    bad = [
        world.upload(f"{name}{n}", key=f"{name}/{name}{n}.zip")
        for name in endpoints
        for n in range(each)
    ]
    world.announce_all(lambda: urls[1], bad)
    with ThreadPoolExecutor(2) as pool:
        senders = [
            pool.submit(part.announce_at_rate, url, [part.upload(f"g{n:04}") for n in range(good)])
            for part, url in zip(worlds, urls, strict=True)
        ]
        for sender in senders:
            sender.result()
    calm.settle(60)
    world.settle(DEADLINE * max(each, 1) + 60)
    imports = world.ledger.deliveries("import")
    ends = {row.key.partition("/")[0]: str(row.error) for row in imports}
    run.figures["ends"] = {name: code for name, code in ends.items() if name != "prod"}
    for row in imports:
        expected = "succeeded" if row.key.startswith("prod/") else "failed"
        run.must(row.state == expected, f"{row.key} ended {row.state} ({row.error})")
    for took, name in world.ledger.rows(
        "select (a.finished - a.started) / 1000000.0, a.destination from attempts a"
    ):
        run.must(float(took) <= DEADLINE / 2, f"an attempt at {name} took {took:.0f} s")
