"""The tables of relay.toml that the configuration lacks and that deliveries wait for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_, select, tuple_, update

from relay.ledger.database import LedgerPart
from relay.ledger.message_order import store_messages
from relay.ledger.next_due import pending_destinations
from relay.ledger.rows import to_delivery
from relay.ledger.schema import PENDING, WAITING, deliveries, unconfigured
from relay.ledger.values import WaitReason
from relay.ledger.waits import TABLES, Configured
from relay.model import Delivery, Kind, NewMessage


class MissingTables(LedgerPart):
    """Finds missing tables, and stores which of them were reported."""

    def paths(self, configured: Configured) -> list[str]:
        """Return the tables that are missing and that deliveries wait for."""
        with self._database.read() as connection:
            destinations = set(pending_destinations(connection)) - configured.destinations
            reported = connection.execute(select(unconfigured.c.path)).scalars().all()
        paths = {f"{TABLES[kind]}.{name}" for kind, name in destinations}
        sources = {path for path in reported if path.startswith("sources.")}
        return sorted(paths | (sources - configured.paths))

    def forget_found(self, configured: Configured, now: datetime) -> None:
        """Forget what was reported as missing and is configured again.

        The deliveries that wait for it are due now.
        """
        known = unconfigured.c.path.in_(configured.paths)
        with self._database.read() as connection:
            if connection.execute(select(unconfigured.c.path).where(known)).first() is None:
                return
        column = deliveries.c
        is_complete = tuple_(column.kind, column.destination).in_(list(configured.destinations))
        has_source = or_(column.kind == Kind.MESSAGE, column.source.in_(configured.sources))
        waits = PENDING, column.wait_reason == WaitReason.NOT_CONFIGURED, column.due > now
        with self._database.write() as connection:
            connection.execute(delete(unconfigured).where(known))
            statement = update(deliveries).where(*waits, is_complete, has_source)
            connection.execute(statement.values(due=now))
            self._database.notify_workers(connection)

    def unreported(self, configured: Configured) -> dict[str, Delivery]:
        """Return a waiting delivery for each missing target or channel that was not reported.

        An attempt reports what it misses; there is none while the destination is paused.
        """
        found = {}
        with self._database.read() as connection:
            reported = set(connection.execute(select(unconfigured.c.path)).scalars())
            for kind, name in set(pending_destinations(connection)) - configured.destinations:
                path = f"{TABLES[kind]}.{name}"
                of_table = deliveries.c.kind == kind, deliveries.c.destination == name
                query = WAITING.where(*of_table).order_by(deliveries.c.id).limit(1)
                if name and path not in reported and (row := connection.execute(query).first()):
                    found[path] = to_delivery(row)
        return found

    def report(self, path: str, messages: Sequence[NewMessage], now: datetime) -> bool:
        """Store that a table is reported as missing, and the messages. False: it was before."""
        with self._database.write() as connection:
            row = {"path": path, "since": now}
            is_new = self._database.insert_new(connection, unconfigured, row)
            if is_new:
                store_messages(self._database, connection, messages, now)
        return is_new
