"""A child process: a relay command with injected faults.

relay/ has no hooks for this. Functions are wrapped here, before the command starts.
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
from time import sleep
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
    """The command to run, and the faults to inject.

    `point`: the process kills itself when it passes the point for the `nth` time, unless `marker`
    exists; with `hold`, it waits at the point as long as that file exists. `mutant`: the rule of
    Relay that is switched off (mutants.py). `clock`: a file with the error of the clock in seconds,
    as a double. `constants`: "module:NAME" -> value, to shorten times. `host`: the host name that
    the process reports. `netns`: the network namespace to enter. `disk`: the faults of the disk
    under SQLite (disk.py). `tree`: the folder of another version of Relay, which runs without
    faults.
    """

    number: int
    arguments: list[str]
    environment: dict[str, str]
    log: str
    point: str
    nth: int
    marker: str
    hold: str
    mutant: str
    clock: str
    constants: dict[str, Any]
    host: str
    netns: str
    disk: dict[str, Any]
    tree: str
    file_limit: int


def preload() -> None:
    for name in MODULES.split():
        importlib.import_module(name)
    from relay.handlers.s3.handler import Handler

    # The first client parses several MB of JSON, which all children then share.
    keys = {"access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}
    Handler("exports", Handler.Settings.model_validate({"kind": "s3", **keys})).close()
    gc.collect()
    gc.freeze()  # keeps these pages shared


def run(order: Order) -> None:
    """Run the relay command in this process. Ends with SystemExit."""
    _detach(order)
    if tree := order.get("tree"):
        _run_other_version(Path(tree), order["arguments"])
    for name, value in order.get("constants", {}).items():
        module_name, _, constant = name.partition(":")
        module = importlib.import_module(module_name)
        getattr(module, constant)  # Raises if the constant was renamed.
        setattr(module, constant, _constant(value))
    if host := order.get("host"):
        owners = importlib.import_module("relay.ledger.owners")
        assert callable(owners._namespace)
        owners._namespace = lambda: host
    if clock := order.get("clock"):
        _use_clock(Path(clock))
    if netns := order.get("netns"):
        _enter_netns(netns)
    if disk := order.get("disk"):
        importlib.import_module("tests.torture.disk").install(**disk)
    _arm(order)
    if limit := order.get("file_limit"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        _lift_limit_on_signal()
    sys.argv = ["relay", *order["arguments"]]
    importlib.import_module("relay.cli.main").main()


def _run_other_version(tree: Path, arguments: list[str]) -> None:
    os.chdir(tree)
    # The compiled files are kept, so that only the first start takes long.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": ""}
    os.execve(sys.executable, [sys.executable, "-m", "relay", *arguments], environment)


def _arm(order: Order) -> None:
    if mutant := order.get("mutant"):
        importlib.import_module("tests.torture.mutants").apply(mutant)
    if point := order.get("point"):
        points = importlib.import_module("tests.torture.points")
        hold = Path(order["hold"]) if order.get("hold") else None
        points.arm(point, Trap(order.get("nth", 1), Path(order["marker"]), hold).passed)


class Trap:
    """Counts passes, and at the n-th kills the process and the gunicorn master.

    Or waits there as long as the file `hold` exists.
    """

    def __init__(self, nth: int, marker: Path, hold: Path | None = None) -> None:
        self._left = nth
        self._marker = marker
        self._hold = hold
        self._main = os.getpid()
        self._lock = threading.Lock()

    def passed(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left or self._marker.exists():
                return
            self._marker.touch()
        if self._hold is None:
            die(self._main)
        while self._hold is not None and self._hold.exists():
            sleep(0.02)


def die(main: int) -> None:
    """Kill all processes of a relay, as `kill -9` of the process group does."""
    if os.getpid() != main:
        os.kill(main, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


class AdjustableClock:
    """A clock error that the test process changes through a shared file."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)

    @property
    def error(self) -> timedelta:
        return timedelta(seconds=struct.unpack("d", self._shared[:8])[0])


def _use_clock(path: Path) -> None:
    clock = AdjustableClock(path)

    class ShiftedDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + clock.error

    # utc_now looks up `datetime` at each call, so every holder of utc_now gets the shifted clock.
    importlib.import_module("relay.model").datetime = ShiftedDatetime


def _detach(order: Order) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setpgid(0, 0)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for name in [name for name in os.environ if name.startswith("RELAY_")]:
        del os.environ[name]
    os.environ.update(order.get("environment", {}))
    os.chdir(ROOT)


def _enter_netns(netns: str) -> None:
    with Path(f"/run/netns/{netns}").open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"setns {netns}")
    socket.socket().close()


def _lift_limit_on_signal() -> None:
    def lift(*_: object) -> None:
        infinite = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_FSIZE, (infinite, infinite))

    signal.signal(signal.SIGUSR2, lift)


def _constant(value: Any) -> Any:
    return timedelta(seconds=value["seconds"]) if isinstance(value, dict) else value


Passed = Callable[[], None]
