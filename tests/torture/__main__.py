"""`python -m tests.torture [quick] [ID ...] [sqlite|postgresql]`: runs scenarios, prints one table.

Exit code 1 when anything failed. Without `quick` the rows go into latest.md too.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import postgresql
from tests.torture.children import Zygote
from tests.torture.plan import PLAN
from tests.torture.scenario import POSTGRESQL, SQLITE, Entry, Result, Run, carried_out
from tests.torture.table import latest, printed, written

LATEST = Path(__file__).with_name("latest.md")


def main(words: list[str]) -> int:
    quick = "quick" in words
    asked = [word for word in words if word != "quick"]
    results: list[Result] = []
    runs = [(entry, one) for entry in PLAN for one in engines(entry, asked, quick=quick)]
    needed = any(engine == POSTGRESQL for _, engine in runs)
    with ExitStack() as stack:
        zygote = stack.enter_context(Zygote())
        server = stack.enter_context(running()) if needed else None
        for entry, engine in runs:
            if engine == SQLITE or server is not None:
                result = carried_out(entry, Run(zygote, engine, quick, server))
                results.append(result)
                sys.stdout.write(printed(result) + "\n")
                sys.stdout.flush()
                if not quick:
                    LATEST.write_text(latest(LATEST, results))
    sys.stdout.write("\n" + written(results, "The short sweep" if quick else "This run"))
    return int(any(result.broken for result in results))


def engines(entry: Entry, asked: list[str], *, quick: bool) -> tuple[str, ...]:
    """On which this scenario is to run now; asked for by id, or by its beginning, and by engine."""
    ids = [word for word in asked if word.lower() not in ("sqlite", "postgresql")]
    if ids and not any(entry.id.lower().startswith(word.lower()) for word in ids):
        return ()
    which = entry.in_ci if quick and not ids else entry.engines
    only = [one for one in (SQLITE, POSTGRESQL) if one.lower() in {w.lower() for w in asked}]
    return tuple(one for one in which if not only or one in only)


@contextmanager
def running() -> Iterator[postgresql.Server | None]:
    """A PostgreSQL of our own; None where none is installed."""
    programs = postgresql.bindir()
    if programs is None:
        sys.stdout.write(f"{postgresql.MISSING}: SQLite alone\n")
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="relay-torture-pg-"))
    server = postgresql.Server(programs, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
