"""Children: starts them through the zygote, follows them, ends them; never one that is not ours."""

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
    """One relay command under way. `code`: how it ended; negative: by that signal."""

    pid: int
    started: float
    url: str = ""
    code: int | None = None
    ended: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def signal(self, number: signal.Signals, *, whole: bool = False) -> None:
        """`whole`: to all processes of its group too (gunicorn has two)."""
        if self.alive:  # else its number may be a stranger's by now
            with suppress(ProcessLookupError):
                (os.killpg if whole else os.kill)(self.pid, number)

    def kill(self) -> None:
        """kill -9 of the whole of it."""
        self.signal(signal.SIGKILL, whole=True)
        self.wait(10)

    def stop(self, within: float = 40) -> int:
        """SIGTERM, and how it ended; it has to end by itself in time."""
        self.signal(signal.SIGTERM)
        return self.wait(within)

    def wait(self, within: float) -> int:
        assert self.over.wait(within), f"process {self.pid} did not end within {within} s"
        assert self.code is not None
        return self.code

    @property
    def alive(self) -> bool:
        return not self.over.is_set()


class Zygote:
    """Serves all worlds of one harness; a context."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._answers: dict[int, Queue[int]] = {}
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
            env={name: value for name, value in os.environ.items() if not _measures(name)},
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
                child.signal(signal.SIGKILL, whole=True)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._reader.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def start(self, order: Order) -> Child:
        number = next(self._numbers)
        answer: Queue[int] = Queue()
        with self._lock:
            self._answers[number] = answer
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({**order, "number": number}) + "\n")
            self._process.stdin.flush()
        pid = answer.get(timeout=20)
        return self._children[pid]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._hear(json.loads(line))

    def _hear(self, told: dict[str, Any]) -> None:
        with self._lock:
            if "order" in told:
                self._children[told["pid"]] = Child(told["pid"], monotonic())
                self._answers.pop(told["order"]).put(told["pid"])
            elif child := self._children.get(told["exited"]):
                child.code, child.ended = told["code"], monotonic()
                child.over.set()


def _measures(name: str) -> bool:
    """Coverage of what is killed anyway would only make it slow."""
    return name.startswith(("COV_", "COVERAGE_", "RELAY_", "PYTEST_"))
