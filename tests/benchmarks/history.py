"""Fills a ledger on SQLite with years of history, as fast as SQLite takes it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

from relay.ids import id_of
from relay.store import Store

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BATCH = 20_000
TABLES = {
    "notifications": 11,
    "events": 13,
    "deliveries": 28,
    "attempts": 10,
}


def filled(path, number, now):
    """A migrated Store at `path` with so many finished imports, one for each event; the last a
    second before `now`."""
    store = Store.open(f"sqlite:///{path}")
    store.migrate()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    columns = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for table in TABLES
    }
    for start in range(0, number, BATCH):
        numbers = range(start, min(start + BATCH, number))
        rows = [_rows(one, now - timedelta(seconds=number - one)) for one in numbers]
        for table in TABLES:
            names = columns[table]
            marks = ", ".join("?" * len(names))
            quoted = ", ".join(f'"{name}"' for name in names)
            connection.executemany(
                f"INSERT INTO {table} ({quoted}) VALUES ({marks})",
                ([row[table].get(name) for name in names] for row in rows),
            )
        connection.commit()
    connection.execute("ANALYZE")
    connection.commit()
    connection.close()
    return store


def _rows(number, moment):
    at = int((moment - EPOCH) / timedelta(microseconds=1))
    id_ = f"{id_of(moment)[:-8]}{number:08d}"
    place = {"source": "exports", "bucket": "exports", "key": f"prod/{number % 5000}.zip"}
    return {
        "notifications": {
            "id": id_,
            "source": "exports",
            "road": "hook",
            "received": at,
            "method": "POST",
            "path": "/hooks/exports",
            "headers": "{}",
            "body": b"",
            "verdict": "accepted",
            "envelopes": '["bare"]',
            "events": 1,
        },
        "events": {
            **place,
            "id": id_,
            "notification_id": id_,
            "version": str(number),
            "size": 1000,
            "identity": f"version:{number}",
            "type": "ObjectCreated:Put",
            "time": at,
            "order": f"hex:{number:032x}",
            "received": at,
        },
        "deliveries": {
            **place,
            "id": id_,
            "kind": "import",
            "state": "succeeded",
            "route": "exports#1",
            "version": str(number),
            "destination": "prod",
            "event_id": id_,
            "created": at,
            "finished": at,
            "attempts": 1,
            "tries": 1,
            "run": 1,
            "trigger": "automatic",
            "fence": 1,
            "options": "{}",
            "channels": "[]",
            "result": json.dumps({"how": "created"}),
        },
        "attempts": {
            "delivery_id": id_,
            "number": 1,
            "kind": "import",
            "destination": "prod",
            "trigger": "automatic",
            "started": at,
            "finished": at,
            "outcome": "succeeded",
        },
    }
