"""Query plans of accepting and claiming: the index that each statement uses."""

from __future__ import annotations

import re
from contextlib import contextmanager

from sqlalchemy import event


@contextmanager
def record_statements(ledger):
    """Record each distinct statement that the ledger runs inside the block, with parameters."""
    statements = {}

    def record(_connection, _cursor, statement, parameters, _context, _many):
        statements.setdefault(statement, parameters)

    engine = ledger._database._engine
    event.listen(engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", record)


def explain(ledger, statements):
    """Return the scans and searches in the plan of each query."""
    database, found = ledger._database, {}
    with database.read() as connection:
        for statement, parameters in statements.items():
            if not re.match(r"SELECT|UPDATE|WITH", statement):
                continue
            prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN (COSTS OFF)"
            rows = connection.exec_driver_sql(f"{prefix} {statement}", parameters).all()
            steps = [str(row[-1]).strip(" ->") for row in rows]
            if steps := [_short(step) for step in steps if re.search(r"\bSCAN|SEARCH|Scan", step)]:
                found[_label(statement)] = "; ".join(steps)
    return found


def lines(engine, by_size):
    """Yield the plans, with the sizes of the history where plans differ."""
    yield f"plans, {engine}"
    sizes_by_plan = {}
    for size, plans in by_size.items():
        for statement, plan in plans.items():
            sizes_by_plan.setdefault(statement, {}).setdefault(plan, []).append(f"{size:,}")
    for statement, found in sizes_by_plan.items():
        yield f"  {statement}"
        for plan, sizes in found.items():
            yield f"    {'' if len(found) == 1 else ' '.join(sizes) + ': '}{plan}"


def _label(statement):
    flat = re.sub(r"\s+", " ", statement.replace(' COLLATE "C"', ""))
    flat = re.sub(r"%\(\w+\)s(::\w+)?|\?", "?", flat)
    table = re.search(r"\b(?:FROM|UPDATE) (\w+)", flat)[1]
    where = re.search(r" WHERE (.*)", flat)
    condition = re.sub(r"\b[a-z]+\.", "", where[1] if where else "all")
    condition = re.sub(r" (ORDER BY|LIMIT|FOR UPDATE) .*", "", condition)
    return f"{flat.split()[0].lower()} {table}: {condition[:150]}"


def _short(step):
    return re.sub(r"\s*\((?!.*INDEX).*$", "", step) if "Scan" in step else step
