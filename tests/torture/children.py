"""Starts, watches and ends child processes through the zygote."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Queue
from time import monotonic
from typing import Any, Self

from tests.torture.child import ROOT, Order


@dataclass(eq=False)
class Child:
    """A running relay command. `code`: the exit code, negative for a signal."""

    pid: int
    started: float
    url: str = ""
    code: int | None = None
    ended: float = 0.0
    exited: threading.Event = field(default_factory=threading.Event)

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the process or, with `group`, to the whole process group."""
        if self.alive:  # the pid of an exited child may be reused
            with suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def kill(self) -> None:
        """Kill the whole process group with SIGKILL."""
        self.signal(signal.SIGKILL, group=True)
        self.wait(10)

    def stop(self, within: float = 40) -> int:
        """Send SIGTERM and return the exit code. The process must exit in time."""
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def wait(self, within: float) -> int:
        assert self.exited.wait(within), f"process {self.pid} did not end within {within} s"
        assert self.code is not None
        return self.code

    @property
    def alive(self) -> bool:
        return not self.exited.is_set()


class Zygote:
    """The zygote process, shared by all worlds of a test process. A context manager."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._replies: dict[int, Queue[int]] = {}
        self._children: dict[int, Child] = {}
        self._lock = threading.Lock()
        self.import_seconds = 0.0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not _is_test_setting(name)},
        )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        self.import_seconds = json.loads(first)["ready"]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in list(self._children.values()):
            if child.alive:
                child.signal(signal.SIGKILL, group=True)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, order: Order) -> Child:
        number = next(self._numbers)
        reply: Queue[int] = Queue()
        with self._lock:
            self._replies[number] = reply
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({**order, "number": number}) + "\n")
            self._process.stdin.flush()
        pid = reply.get(timeout=20)
        return self._children[pid]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._handle(json.loads(line))

    def _handle(self, report: dict[str, Any]) -> None:
        with self._lock:
            if "order" in report:
                self._children[report["pid"]] = Child(report["pid"], monotonic())
                self._replies.pop(report["order"]).put(report["pid"])
            elif child := self._children.get(report["exited"]):
                child.code, child.ended = report["code"], monotonic()
                child.exited.set()


def _is_test_setting(name: str) -> bool:
    """Return True for variables that children must not inherit; coverage would slow them down."""
    return name.startswith(("COV_", "COVERAGE_", "RELAY_", "PYTEST_"))
