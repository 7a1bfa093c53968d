"""`python -m tests.torture [quick] [ID ...] [sqlite|postgresql]`: runs scenarios, prints one table.

Exit code 1 when anything failed. Without `quick` each row goes into latest.md as soon as it is
known. LANES (3) is how many run beside each other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests import postgresql
from tests.torture.lanes import results
from tests.torture.plan import PLAN
from tests.torture.scenario import POSTGRESQL, SQLITE, Entry, Result
from tests.torture.table import latest, printed, written

LATEST = Path(__file__).with_name("latest.md")


def main(words: list[str]) -> int:
    quick = "quick" in words
    asked = [word for word in words if word != "quick"]
    wanted = [(entry, one) for entry in PLAN for one in engines(entry, asked, quick=quick)]
    if postgresql.bindir() is None:
        sys.stdout.write(f"{postgresql.MISSING}: SQLite alone\n")
        wanted = [one for one in wanted if one[1] == SQLITE]
    lanes = min(int(os.environ.get("LANES", "3")), max(len(wanted), 1))
    done: list[Result] = []
    for result in results(wanted, quick=quick, lanes=lanes):
        done.append(result)
        sys.stdout.write(printed(result) + "\n")
        sys.stdout.flush()
        if not quick:
            LATEST.write_text(latest(LATEST, done))
    sys.stdout.write("\n" + written(done, "The short sweep" if quick else "This run"))
    return int(any(one.broken for one in done))


def engines(entry: Entry, asked: list[str], *, quick: bool) -> tuple[str, ...]:
    """On which this scenario is to run now; asked for by id, or by its beginning, and by engine."""
    ids = [word for word in asked if word.lower() not in ("sqlite", "postgresql")]
    if ids and not any(entry.id.lower().startswith(word.lower()) for word in ids):
        return ()
    which = entry.in_ci if quick and not ids else entry.engines
    only = [one for one in (SQLITE, POSTGRESQL) if one.lower() in {w.lower() for w in asked}]
    return tuple(one for one in which if not only or one in only)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
