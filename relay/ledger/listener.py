"""Wakes a process when another process stores deliveries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep

from relay.ledger.database import CHANNEL, LedgerPart

NOTIFY_TIMEOUT = 1.0
"""Seconds between two checks whether to stop, on PostgreSQL."""

POLL_INTERVAL = 0.03
"""Seconds between two checks of a SQLite file, which has no notifications."""


class ChangeListener(LedgerPart):
    """Listens for changes of the database by any process."""

    def listen(self, wake: Callable[[], None], going: Callable[[], bool]) -> None:
        """Call `wake` after every change, as long as `going()`.

        Raises LedgerUnavailable if the connection breaks; the next claim finds missed changes.
        """
        file = self._database.file
        if file is not None:
            _poll(file, wake, going)
            return
        with self._database.raw_connection() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            wake()  # for changes before LISTEN
            while going():
                for _ in connection.notifies(timeout=NOTIFY_TIMEOUT, stop_after=1):
                    wake()


def _poll(file: Path, wake: Callable[[], None], going: Callable[[], bool]) -> None:
    files = (file, file.with_name(f"{file.name}-wal"))
    previous = None
    while going():
        # stat() only: closing a file descriptor would release SQLite's locks on the file.
        current = [_fingerprint(path) for path in files]
        if current != previous:
            previous = current
            wake()
        sleep(POLL_INTERVAL)


def _fingerprint(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
