"""How an engine runs what accepting and claiming ask: which index each statement goes by."""

from __future__ import annotations

import re
from contextlib import contextmanager

from sqlalchemy import event


@contextmanager
def heard(store):
    """The statements, with what they were given, that the store runs meanwhile; each once."""
    statements = {}

    def hear(_connection, _cursor, statement, parameters, _context, _many):
        statements.setdefault(statement, parameters)

    engine = store._database._engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", hear)


def explained(store, statements):
    """What the engine does for each that looks something up: its scans and searches."""
    database, found = store._database, {}
    with database.read() as connection:
        for statement, parameters in statements.items():
            if not re.match(r"SELECT|UPDATE|WITH", statement):
                continue
            prefix = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN (COSTS OFF)"
            rows = connection.exec_driver_sql(f"{prefix} {statement}", parameters).all()
            steps = [str(row[-1]).strip(" ->") for row in rows]
            if steps := [_short(step) for step in steps if re.search(r"\bSCAN|SEARCH|Scan", step)]:
                found[_words(statement)] = "; ".join(steps)
    return found


def lines(words, by_size):
    """The plans, and where they change with the size of the history."""
    yield f"plans, {words}"
    seen = {}
    for size, plans in by_size.items():
        for statement, plan in plans.items():
            seen.setdefault(statement, {}).setdefault(plan, []).append(f"{size:,}")
    for statement, found in seen.items():
        yield f"  {statement}"
        for plan, sizes in found.items():
            yield f"    {'' if len(found) == 1 else ' '.join(sizes) + ': '}{plan}"


def _words(statement):
    flat = re.sub(r"\s+", " ", statement.replace(' COLLATE "C"', ""))
    flat = re.sub(r"%\(\w+\)s(::\w+)?|\?", "?", flat)
    table = re.search(r"\b(?:FROM|UPDATE) (\w+)", flat)[1]
    where = re.search(r" WHERE (.*)", flat)
    asked = re.sub(r"\b[a-z]+\.", "", where[1] if where else "all")
    asked = re.sub(r" (ORDER BY|LIMIT|FOR UPDATE) .*", "", asked)
    return f"{flat.split()[0].lower()} {table}: {asked[:150]}"


def _short(step):
    return re.sub(r"\s*\((?!.*INDEX).*$", "", step) if "Scan" in step else step
