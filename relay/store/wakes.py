"""Wakes: on PostgreSQL every process hears at once that there is something to deliver."""

from __future__ import annotations

from collections.abc import Callable

from relay.store.engine import CHANNEL, Part

HEARING = 1.0
"""Seconds between two looks whether it should still listen."""


class Wakes(Part):
    """Who waits for deliveries that other processes store."""

    @property
    def heard(self) -> bool:
        """Whether `listen` hears anything: a SQLite file tells nobody, it has to be looked at."""
        return not self._database.is_sqlite

    def listen(self, wake: Callable[[], None], going: Callable[[], bool]) -> None:
        """Calls `wake` for what any process stored, while `going()`; StoreUnavailable when the
        connection breaks: what was missed meanwhile, looking finds."""
        with self._database.lent() as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            wake()  # what came before we listened
            while going():
                for _ in connection.notifies(timeout=HEARING, stop_after=1):
                    wake()
