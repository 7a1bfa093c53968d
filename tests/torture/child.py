"""A child of the torture: one command of relay, with what this run wants to go wrong in it.

Nothing in relay/ knows of any of this: functions are wrapped here, before the command starts.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, TypedDict

ROOT = Path(__file__).resolve().parents[2]
MODULES = (
    "gunicorn.app.wsgiapp gunicorn.workers.gthread psycopg alembic.command relay.cli.main "
    "relay.app.wsgi relay.app.gunicorn_config relay.cli.serve relay.cli.work relay.cli.migrate "
    "relay.cli.scan relay.targets.functiongraph.target relay.channels.webhook.channel "
    "relay.channels.slack.channel relay.handlers.s3 relay.handlers.local.handler "
    "tests.torture.points tests.torture.disk"
)
PR_SET_PDEATHSIG = 1


class Order(TypedDict, total=False):
    """What to run, and what is wrong with the world around it.

    `point`: kills itself at the `nth` passing; once, whoever finds `marker` afterwards does not.
    `clock`: a file that holds, as a double, by how many seconds the clock is wrong.
    `constants`: "module:NAME" -> value; times that are long in real life. `place`: which host this
    process takes itself to be on. `netns`: the network namespace it moves into. `disk`: how the
    disk under SQLite behaves (see disk.py).
    """

    number: int
    arguments: list[str]
    environment: dict[str, str]
    log: str
    point: str
    nth: int
    marker: str
    clock: str
    constants: dict[str, Any]
    place: str
    netns: str
    disk: dict[str, Any]
    file_limit: int


def preload() -> None:
    for name in MODULES.split():
        importlib.import_module(name)
    from relay.handlers.s3 import AnyS3Settings, Handler

    # The first client reads a mountain of JSON, which all children then share.
    keys = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}
    Handler("exports", AnyS3Settings.model_validate({"kind": "s3", **keys})).close()
    gc.collect()
    gc.freeze()  # and what the collector does not touch


def run(order: Order) -> None:
    """Becomes that command of relay; ends with SystemExit."""
    _leave_home(order)
    for name, value in order.get("constants", {}).items():
        module, _, constant = name.partition(":")
        setattr(importlib.import_module(module), constant, _valued(value))
    if place := order.get("place"):
        importlib.import_module("relay.ledger.owners")._namespace = lambda: place
    if clock := order.get("clock"):
        _wrong_clock(Path(clock))
    if netns := order.get("netns"):
        _enter(netns)
    if disk := order.get("disk"):
        importlib.import_module("tests.torture.disk").install(**disk)
    if point := order.get("point"):
        points = importlib.import_module("tests.torture.points")
        points.arm(point, Trap(order.get("nth", 1), Path(order["marker"])).passed)
    if limit := order.get("file_limit"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        _lift_at_signal()
    sys.argv = ["relay", *order["arguments"]]
    importlib.import_module("relay.cli.main").main()


class Trap:
    """Counts who passes, and kills the process, and gunicorn's master with it, at the n-th."""

    def __init__(self, nth: int, marker: Path) -> None:
        self._left = nth
        self._marker = marker
        self._main = os.getpid()
        self._lock = threading.Lock()

    def passed(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left or self._marker.exists():
                return
            self._marker.touch()
            die(self._main)


def die(main: int) -> None:
    """Kills the whole of a relay, as `kill -9` of its group does."""
    if os.getpid() != main:
        os.kill(main, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


class WrongClock:
    """Shared with the harness through a file: it may turn the clock at any time."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    @property
    def wrong_by(self) -> timedelta:
        return timedelta(seconds=struct.unpack("d", self._shared[:8])[0])


def _wrong_clock(path: Path) -> None:
    clock = WrongClock(path)

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + clock.wrong_by

    # utc_now looks it up at each call, so that whoever holds utc_now has the wrong clock too.
    importlib.import_module("relay.model").datetime = Wrong


def _leave_home(order: Order) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for name in [one for one in os.environ if one.startswith("RELAY_")]:
        del os.environ[name]
    os.environ.update(order.get("environment", {}))
    os.chdir(ROOT)


def _enter(netns: str) -> None:
    with Path(f"/run/netns/{netns}").open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"setns {netns}")
    socket.socket().close()


def _lift_at_signal() -> None:
    def lift(*_: object) -> None:
        infinite = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (infinite, infinite))

    signal.signal(signal.SIGUSR2, lift)


def _valued(value: Any) -> Any:
    return timedelta(seconds=value["seconds"]) if isinstance(value, dict) else value


Passed = Callable[[], None]
