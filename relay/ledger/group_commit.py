"""Writer: many threads' transactions on SQLite, committed together by one.

A commit waits for the disk, whatever it holds: as many as came meanwhile share the next one.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from relay.errors import RelayError
from relay.ledger.errors import unavailable

T = TypeVar("T")
Work = Callable[[Connection], T]
Begin = Callable[[float], AbstractContextManager[Connection]]

MOST = 64
"""Transactions in one commit: the last of them must not wait much longer than the first."""

_SHORTEST = 0.05
"""Seconds that a transaction waits at the least to be let in."""

HELD = 0.25
"""Seconds that it waits while another process is known to hold the database: else threads that
wait two seconds each would be all taken, and what could be told at once would be told late."""


class _Share(NamedTuple):
    work: Work[Any]
    future: Future[Any]
    end: float


class GroupCommitter:
    """One thread that writes what others hand it. It starts when it is first needed: what gunicorn
    forks has no threads of its parent's."""

    def __init__(self, begin: Begin) -> None:
        """`begin(wait)` opens a transaction that is committed at its end; it waits that many
        seconds to be let in."""
        self._begin = begin
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Share | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._held = False

    def do(self, work: Work[T], wait: float) -> T:
        """What `work` returns, once it is durable. It may be run a second time after nothing of the
        first one happened, so it does nothing but read and write.

        Raises what `work` raises, and then nothing of it happened; StoreUnavailable also when it
        was not begun within `wait` seconds.
        """
        if self._held:
            wait = min(wait, HELD)
        future: Future[T] = Future()
        self._hand(_Share(work, future, monotonic() + wait))
        try:
            return future.result(wait)
        except TooLate:
            if future.cancel():
                raise unavailable(
                    "locked", "others write all the time", "其他写入持续占用"
                ) from None
            return future.result()  # it has begun, and so it ends, one way or the other

    def close(self) -> None:
        """Writes what was handed in before, then ends the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None and self._pid == os.getpid():
                self._queue.put(None)
                thread.join()

    def _hand(self, share: _Share) -> None:
        with self._lock:
            if self._thread is None or self._pid != os.getpid():
                self._queue = queue.SimpleQueue()
                self._pid = os.getpid()
                self._thread = threading.Thread(
                    target=self._run, args=(self._queue,), name="relay writes", daemon=True
                )
                self._thread.start()
            self._queue.put(share)

    def _run(self, waiting: queue.SimpleQueue[_Share | None]) -> None:
        going = True
        while going:
            taken = [waiting.get()]
            while len(taken) < MOST and not waiting.empty():
                taken.append(waiting.get())
            going = None not in taken
            batch = [one for one in taken if one and one.future.set_running_or_notify_cancel()]
            if batch and not self._write(batch):
                # One of them failed, and so none happened: each for itself, the others succeed.
                for share in batch:
                    self._write([share])

    def _write(self, batch: Sequence[_Share]) -> bool:
        """Whether every future got its answer; a batch of one always does."""
        wait = max(min(share.end for share in batch) - monotonic(), _SHORTEST)
        try:
            with self._begin(wait) as connection:
                done = [share.work(connection) for share in batch]
        except BaseException as error:  # noqa: BLE001 - it belongs to the thread that asked
            if len(batch) > 1 and not _hopeless(error):
                return False
            self._held = _hopeless(error)
            for share in batch:
                share.future.set_exception(error)
            return True
        self._held = False
        for share, result in zip(batch, done, strict=True):
            share.future.set_result(result)
        return True


def _hopeless(error: BaseException) -> bool:
    """Whether the database itself does not let anybody write: no use asking for each."""
    return isinstance(error, RelayError) and error.code in ("store.locked", "store.full")
