"""How an engine carries out the statements of some act: by which indexes, and what it reads whole.

A table of a few rows is read whole by PostgreSQL whatever indexes there are, so it is told not to:
where it does all the same, no index serves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import event

from relay.ledger import Ledger

_WHOLE = re.compile(r"(?:SCAN|Seq Scan on) (\w+)(?! USING)")


def statements(ledger: Ledger, act: Callable[[], object]) -> list[tuple[str, Any]]:
    """What is asked while it acts, each with its values."""
    seen: list[tuple[str, Any]] = []

    def listener(*arguments: Any) -> None:
        seen.append((arguments[2], arguments[3]))

    engine = ledger._database._engine
    event.listen(engine, "before_cursor_execute", listener)
    act()
    event.remove(engine, "before_cursor_execute", listener)
    return [one for one in seen if one[0].startswith(("SELECT", "UPDATE", "WITH"))]


def steps(ledger: Ledger, asked: list[tuple[str, Any]]) -> list[str]:
    """The steps by which the engine runs them."""
    prefix = "EXPLAIN QUERY PLAN" if ledger._database.is_sqlite else "EXPLAIN (COSTS OFF)"
    with ledger._database._engine.connect() as connection:
        if not ledger._database.is_sqlite:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        return [
            str(row[-1]).strip(" ->")
            for statement, values in asked
            for row in connection.exec_driver_sql(f"{prefix} {statement}", values)
        ]


def look_about(ledger: Ledger) -> None:
    """Lets PostgreSQL know how much it holds, as it would by itself in a minute."""
    if not ledger._database.is_sqlite:
        with ledger._database.write() as connection:
            connection.exec_driver_sql("ANALYZE")


def read_whole(found: list[str]) -> set[str]:
    """Tables of which every row is read."""
    return {one[1] for step in found if (one := _WHOLE.match(step))} - {"CONSTANT", "lane"}
