"""Group commit: transactions of many threads that share a commit on SQLite.

A commit waits for the disk, however much it writes. All transactions that arrive during a commit
share the next.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any, TypeVar

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


class _Transaction:
    """A transaction that a thread waits for. `signal` is set when it is done, or is to lead."""

    def __init__(self, work: Work[Any], deadline: float) -> None:
        self.work = work
        self.deadline = deadline
        self.signal = threading.Event()
        self.is_done = False
        self.result: Any = None
        self.error: BaseException | None = None


class _Waiting:
    """The transactions of a process that wait for their turn; a thread leads if `is_led`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.transactions: deque[_Transaction] = deque()
        self.is_led = False

    def add(self, transaction: _Transaction) -> bool:
        """Return whether the thread of the transaction leads now."""
        with self.lock:
            self.transactions.append(transaction)
            leads, self.is_led = not self.is_led, True
        return leads

    def take(self) -> list[_Transaction]:
        """Take a batch, oldest first."""
        with self.lock:
            count = min(len(self.transactions), MAX_BATCH)
            return [self.transactions.popleft() for _ in range(count)]

    def cancel(self, transaction: _Transaction) -> bool:
        """Remove a transaction, unless it was taken or is to lead."""
        with self.lock:
            if transaction.signal.is_set() or transaction not in self.transactions:
                return False
            self.transactions.remove(transaction)
            return True

    def hand_over(self, back: Sequence[_Transaction] = ()) -> None:
        """Let the thread of the oldest transaction lead. `back`: what was taken and not begun."""
        with self.lock:
            self.transactions.extendleft(reversed(back))
            self.is_led = bool(self.transactions)
            if self.transactions:
                self.transactions[0].signal.set()


class GroupCommitter:
    """Runs the transactions of all threads, one batch after the other.

    The first thread leads: it writes a batch, its own transaction included, and hands over to a
    waiting thread. So a transaction that is alone needs no other thread.
    """

    def __init__(self, begin: Begin) -> None:
        """`begin(wait)` opens a transaction within `wait` seconds and commits it at the end."""
        self._begin = begin
        self._waiting: dict[int, _Waiting] = {}  # by process: a fork has none of the threads
        self._is_blocked = False

    def do(self, work: Work[T], wait: float) -> T:
        """Run `work` in a transaction and return the result once it is durable.

        `work` may run a second time after a rollback of the first, so it must only read and write
        the database. Raises what `work` raises, and LedgerUnavailable if the transaction does not
        begin within `wait` seconds; nothing is stored then.
        """
        if self._is_blocked:
            wait = min(wait, BUSY_WAIT)
        waiting = self._waiting.setdefault(os.getpid(), _Waiting())
        transaction = _Transaction(work, monotonic() + wait)
        if waiting.add(transaction):
            self._lead(waiting)
        else:
            if not transaction.signal.wait(wait) and waiting.cancel(transaction):
                raise unavailable(
                    "locked", "other writers hold it all the time", "其他写入持续占用"
                )
            transaction.signal.wait()  # the transaction has begun, so it will end
            if not transaction.is_done:
                self._lead(waiting)
        if transaction.error is not None:
            raise transaction.error
        result: T = transaction.result
        return result

    def _lead(self, waiting: _Waiting) -> None:
        """Write the oldest transactions, of which the first is that of this thread."""
        batch = waiting.take()
        try:
            if not self._write(batch):
                # A transaction failed, so the batch was rolled back. Repeat each by itself.
                for transaction in batch:
                    self._write([transaction])
        finally:
            # If this thread was interrupted, for example by Ctrl-C, the others are not done.
            waiting.hand_over([other for other in batch[1:] if not other.is_done])

    def _write(self, batch: Sequence[_Transaction]) -> bool:
        """Return whether all transactions are done; a batch with a single one always is."""
        wait = max(min(item.deadline for item in batch) - monotonic(), _MIN_WAIT)
        try:
            with self._begin(wait) as connection:
                results = [item.work(connection) for item in batch]
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits
            if len(batch) > 1 and not _is_unwritable(error):
                return False
            self._is_blocked = _is_unwritable(error)
            for item in batch:
                item.error = error
        else:
            self._is_blocked = False
            for item, result in zip(batch, results, strict=True):
                item.result = result
        for item in batch:
            item.is_done = True
            item.signal.set()
        return True


def _is_unwritable(error: BaseException) -> bool:
    """Return whether no transaction can be written now: a repeat of each would be useless."""
    return isinstance(error, RelayError) and error.code in ("store.locked", "store.full")
