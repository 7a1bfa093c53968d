"""A4: targets that answer a byte a second, never connect, stall in TLS, or have no address."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from time import sleep
from typing import Self

from tests.torture.compare import compare, seconds
from tests.torture.scenario import Run, scenario
from tests.torture.world import World

LINGERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
DEADLINE = 25.0
"""Seconds for two attempts of any of these, with the short times of the test."""


class Stalling:
    """A server that takes connections and then says nothing, or a byte a second."""

    def __init__(self, *, talks: bool) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._talks = talks
        self._open: list[socket.socket] = []
        self.port = self._server.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in [self._server, *self._open]:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                came, _ = self._server.accept()
                self._open.append(came)
                if self._talks:
                    threading.Thread(target=self._talk, args=(came,), daemon=True).start()

    def _talk(self, came: socket.socket) -> None:
        with suppress(OSError):
            came.sendall(LINGERS)
            while True:
                came.sendall(b" ")
                sleep(1)


class Hole:
    """An address where nobody answers: the queue of connections is full, the kernel drops more."""

    def __enter__(self) -> Self:
        self._server = socket.socket()
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(0)
        self.port = self._server.getsockname()[1]
        self._fillers = [socket.socket() for _ in range(4)]
        for one in self._fillers:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        for one in [self._server, *self._fillers]:
            one.close()


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
        places = {
            "trickle": f"http://127.0.0.1:{stack.enter_context(Stalling(talks=True)).port}",
            "hole": f"http://127.0.0.1:{stack.enter_context(Hole()).port}",
            "stall": f"https://127.0.0.1:{stack.enter_context(Stalling(talks=False)).port}",
            "nowhere": "http://nowhere.invalid",
        }
        with run.world(**times) as calm, run.world(lease="3s", **times) as world:
            world.may_fail = True
            _deliver(run, (calm, world), places, (good, each))
            compare(run, seconds(calm, "g"), seconds(world, "g"))
        run.runs = 4 * each


def _deliver(
    run: Run, worlds: tuple[World, World], places: dict[str, str], numbers: tuple[int, int]
) -> None:
    """The same good ones in both worlds at the same time, in the second beside the bad ones."""
    (calm, world), (good, each) = worlds, numbers
    project = world.sandbox.project_id
    tables = (
        TABLE.format(name=name, endpoint=endpoint, project=project)
        for name, endpoint in places.items()
    )
    world.configure(more="".join(tables))
    urls = [one.serve().url for one in worlds]
    bad = [
        world.upload(f"{name}{n}", key=f"{name}/{name}{n}.zip")
        for name in places
        for n in range(each)
    ]
    world.tell(lambda: urls[1], bad)
    with ThreadPoolExecutor(2) as pool:
        told = [
            pool.submit(one.tell_slowly, url, [one.upload(f"g{n:04}") for n in range(good)])
            for one, url in zip(worlds, urls, strict=True)
        ]
        for one in told:
            one.result()
    calm.settle(60)
    world.settle(DEADLINE * max(each, 1) + 60)
    ends = {one.key.partition("/")[0]: str(one.error) for one in world.ledger.deliveries("import")}
    run.figures["ends"] = {name: code for name, code in ends.items() if name != "prod"}
    for one in world.ledger.deliveries("import"):
        right = one.state == ("succeeded" if one.key.startswith("prod/") else "failed")
        run.must(right, f"{one.key} ended {one.state} ({one.error})")
    for took, name in world.ledger.rows(
        "select (a.finished - a.started) / 1000000.0, a.destination from attempts a"
    ):
        run.must(float(took) <= DEADLINE / 2, f"an attempt at {name} took {took:.0f} s")
