"""Wakes: every process hears soon that there is something to deliver, whoever stored it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep

from relay.ledger.database import CHANNEL, LedgerPart

HEARING = 1.0
"""Seconds between two looks whether it should still listen."""

LOOKING = 0.03
"""Seconds between two looks at a SQLite file: it tells nobody that it was written to."""


class ChangeListener(LedgerPart):
    """Who waits for deliveries that other processes store."""

    def listen(self, wake: Callable[[], None], going: Callable[[], bool]) -> None:
        """Calls `wake` for what any process stored, while `going()`; StoreUnavailable when the
        connection breaks: what was missed meanwhile, looking finds."""
        file = self._database.file
        if file is not None:
            _watch(file, wake, going)
            return
        with self._database.raw_connection() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            wake()  # what came before we listened
            while going():
                for _ in connection.notifies(timeout=HEARING, stop_after=1):
                    wake()


def _watch(file: Path, wake: Callable[[], None], going: Callable[[], bool]) -> None:
    files = (file, file.with_name(f"{file.name}-wal"))
    seen = None
    while going():
        # Only looked at, never opened: to close it would end the locks that SQLite has on it.
        now = [_written(one) for one in files]
        if now != seen:
            seen = now
            wake()
        sleep(LOOKING)


def _written(file: Path) -> tuple[int, int]:
    try:
        told = file.stat()
    except OSError:
        return 0, 0
    return told.st_mtime_ns, told.st_size
