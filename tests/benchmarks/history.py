"""Fills a ledger with years of history as fast as possible."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

from relay.ledger.ids import id_of
from relay.ledger.schema import metadata

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BATCH = 20_000
TABLES = ("notifications", "events", "deliveries", "attempts")
COLUMNS = {table: [column.name for column in metadata.tables[table].columns] for table in TABLES}


def grow(url, start, end, now):
    """Insert the finished imports number `start` to `end` into a migrated ledger.

    Imports are a second apart, and the last is a second before `now`. The statistics of the query
    planner are updated.
    """
    insert, finish = _sqlite(url) if url.startswith("sqlite") else _postgresql(url)
    for first in range(start, end, BATCH):
        numbers = range(first, min(first + BATCH, end))
        rows = [_rows(number, now - timedelta(seconds=end - number)) for number in numbers]
        for table in TABLES:
            names = COLUMNS[table]
            quoted = ", ".join(f'"{name}"' for name in names)
            insert(table, quoted, [[row[table].get(name) for name in names] for row in rows])
    finish()


def _sqlite(url):
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute("PRAGMA synchronous=OFF")

    def put(table, quoted, rows):
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {table} ({quoted}) VALUES ({marks})", rows)
        connection.commit()

    def end():
        connection.execute("ANALYZE")
        connection.commit()
        connection.close()

    return put, end


def _postgresql(url):
    import psycopg

    connection = psycopg.connect(url)
    # Skip the foreign key checks; the rows are consistent.
    connection.execute("SET session_replication_role = replica")
    connection.execute("SET synchronous_commit = off")

    def put(table, quoted, rows):
        copying = f"COPY {table} ({quoted}) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(copying) as copy:
            for row in rows:
                copy.write_row(row)
        connection.commit()

    def end():
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        connection.close()

    return put, end


def _rows(number, moment):
    at = int((moment - EPOCH) / timedelta(microseconds=1))
    id_ = f"{id_of(moment)[:-8]}{number:08d}"
    location = {"source": "exports", "bucket": "exports", "key": f"prod/{number % 5000}.zip"}
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
            **location,
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
            **location,
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
