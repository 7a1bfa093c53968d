"""The query plans of statements: which indexes are used, and which tables are read completely.

PostgreSQL reads small tables completely despite their indexes. Sequential scans are therefore
disabled: a plan that still contains such a scan has no suitable index.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from relay.ledger import Ledger

_WHOLE = re.compile(r"(?:SCAN|Seq Scan on) (\w+)(?! USING)")


def statements(ledger: Ledger, act: Callable[[], object]) -> list[tuple[str, Any]]:
    """Return the statements that `act` executes, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def listener(*arguments: Any) -> None:
        seen.append((arguments[2], arguments[3]))

    engine = ledger._database._engine
    event.listen(engine, "before_cursor_execute", listener)
    act()
    event.remove(engine, "before_cursor_execute", listener)
    return [
        statement for statement in seen if statement[0].startswith(("SELECT", "UPDATE", "WITH"))
    ]


def steps(ledger: Ledger, executed: list[tuple[str, Any]]) -> list[str]:
    """Return the steps of the query plans."""
    prefix = "EXPLAIN QUERY PLAN" if ledger._database.is_sqlite else "EXPLAIN (COSTS OFF)"
    with ledger._database._engine.connect() as connection:
        if not ledger._database.is_sqlite:
            # With few rows, the planner's choice would depend on when autovacuum ran.
            for setting in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
                connection.exec_driver_sql(f"SET LOCAL {setting} = off")
        return [
            str(row[-1]).strip(" ->")
            for statement, values in executed
            for row in connection.exec_driver_sql(f"{prefix} {statement}", values)
        ]


def analyze(ledger: Ledger) -> None:
    """Update the planner statistics of PostgreSQL, as autovacuum does within a minute."""
    if not ledger._database.is_sqlite:
        with ledger._database.write() as connection:
            connection.exec_driver_sql("ANALYZE")


def full_scans(plan: list[str]) -> set[str]:
    """Return the tables that are read completely."""
    return {match[1] for step in plan if (match := _WHOLE.match(step))} - {"CONSTANT", "lane"}
