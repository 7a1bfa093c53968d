"""Group commit: transactions of many threads that share a commit on SQLite.

A commit waits for the disk, however much it writes. All transactions that arrive during a commit
share the next.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from relay.errors import RelayError
from relay.ledger.errors import unavailable

T = TypeVar("T")
Work = Callable[[Connection], T]
Begin = Callable[[float], AbstractContextManager[Connection]]

MAX_BATCH = 64
"""Transactions in a commit: the last must not wait much longer than the first."""

_MIN_WAIT = 0.05
"""Seconds that a batch waits at least for the write lock."""

BUSY_WAIT = 0.25
"""Seconds to wait for the write lock while another process is known to hold it. With the usual two
seconds, all threads would soon be waiting, and senders would get their 503 late."""


class _Item(NamedTuple):
    work: Work[Any]
    future: Future[Any]
    deadline: float


class GroupCommitter:
    """Runs the transactions of all threads in a writer thread.

    The thread starts at first use, because threads do not survive the fork of gunicorn.
    """

    def __init__(self, begin: Begin) -> None:
        """`begin(wait)` opens a transaction within `wait` seconds and commits it at the end."""
        self._begin = begin
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._is_blocked = False

    def do(self, work: Work[T], wait: float) -> T:
        """Run `work` in a transaction and return the result once it is durable.

        `work` may run a second time after a rollback of the first, so it must only read and write
        the database. Raises what `work` raises, and LedgerUnavailable if the transaction does not
        begin within `wait` seconds; nothing is stored then.
        """
        if self._is_blocked:
            wait = min(wait, BUSY_WAIT)
        future: Future[T] = Future()
        self._enqueue(_Item(work, future, monotonic() + wait))
        try:
            return future.result(wait)
        except FutureTimeout:
            if future.cancel():
                raise unavailable(
                    "locked", "other writers hold it all the time", "其他写入持续占用"
                ) from None
            return future.result()  # the transaction has begun, so it will end

    def close(self) -> None:
        """Finish the queued transactions, then stop the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None and self._pid == os.getpid():
                self._queue.put(None)
                thread.join()

    def _enqueue(self, item: _Item) -> None:
        with self._lock:
            if self._thread is None or self._pid != os.getpid():
                self._queue = queue.SimpleQueue()
                self._pid = os.getpid()
                self._thread = threading.Thread(
                    target=self._run, args=(self._queue,), name="relay writes", daemon=True
                )
                self._thread.start()
            self._queue.put(item)

    def _run(self, items: queue.SimpleQueue[_Item | None]) -> None:
        running = True
        while running:
            taken = [items.get()]
            while len(taken) < MAX_BATCH and not items.empty():
                taken.append(items.get())
            running = None not in taken
            batch = [item for item in taken if item and item.future.set_running_or_notify_cancel()]
            if batch and not self._write(batch):
                # A transaction failed, so the batch was rolled back. Repeat each by itself.
                for item in batch:
                    self._write([item])

    def _write(self, batch: Sequence[_Item]) -> bool:
        """Return whether all futures are resolved; a batch with a single item always is."""
        wait = max(min(item.deadline for item in batch) - monotonic(), _MIN_WAIT)
        try:
            with self._begin(wait) as connection:
                results = [item.work(connection) for item in batch]
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            if len(batch) > 1 and not _is_unwritable(error):
                return False
            self._is_blocked = _is_unwritable(error)
            for item in batch:
                item.future.set_exception(error)
            return True
        self._is_blocked = False
        for item, result in zip(batch, results, strict=True):
            item.future.set_result(result)
        return True


def _is_unwritable(error: BaseException) -> bool:
    """Return whether no transaction can be written now: a repeat of each would be useless."""
    return isinstance(error, RelayError) and error.code in ("store.locked", "store.full")
