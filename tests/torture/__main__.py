"""`python -m tests.torture [quick] [ID ...] [sqlite|postgresql]`: runs scenarios, prints a table.

Exits with 1 if anything failed. Without `quick`, each row is written to latest.md when the scenario
ends. The environment variable LANES (default 3) is the number of parallel scenarios.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests import postgresql
from tests.torture.lanes import results
from tests.torture.plan import PLAN
from tests.torture.scenario import POSTGRESQL, SQLITE, Entry, Result
from tests.torture.table import render, result_line, update_latest

LATEST = Path(__file__).with_name("latest.md")


def main(arguments: list[str]) -> int:
    quick = "quick" in arguments
    filters = [argument for argument in arguments if argument != "quick"]
    jobs = [(entry, engine) for entry in PLAN for engine in engines(entry, filters, quick=quick)]
    if postgresql.bindir() is None:
        sys.stdout.write(f"{postgresql.MISSING}: SQLite only\n")
        jobs = [(entry, engine) for entry, engine in jobs if engine == SQLITE]
    lanes = min(int(os.environ.get("LANES", "3")), max(len(jobs), 1))
    done: list[Result] = []
    for result in results(jobs, quick=quick, lanes=lanes):
        done.append(result)
        sys.stdout.write(result_line(result) + "\n")
        sys.stdout.flush()
        if not quick:
            LATEST.write_text(update_latest(LATEST, done))
    sys.stdout.write("\n" + render(done, "The short run" if quick else "This run"))
    return int(any(result.broken for result in done))


def engines(entry: Entry, filters: list[str], *, quick: bool) -> tuple[str, ...]:
    """Return the engines to run this scenario on. Filters are ids or prefixes, and engines."""
    ids = [name for name in filters if name.lower() not in ("sqlite", "postgresql")]
    if ids and not any(entry.id.lower().startswith(prefix.lower()) for prefix in ids):
        return ()
    available = entry.in_ci if quick and not ids else entry.engines
    names = {name.lower() for name in filters}
    selected = [engine for engine in (SQLITE, POSTGRESQL) if engine.lower() in names]
    return tuple(engine for engine in available if not selected or engine in selected)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
