"""A PostgreSQL of the benchmarks' own, with fsync on; None where there is no server to start."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import postgresql

SETTINGS = {"fsync": "on", "synchronous_commit": "on", "shared_buffers": "256MB"}


@contextmanager
def running():
    """Gives a function that makes a new database and tells its URL; or None."""
    programs = postgresql.bindir()
    if programs is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="relay-pg-") as name:
        server = postgresql.Server(programs, Path(name))
        server.start(**SETTINGS)
        try:
            yield server.create
        finally:
            server.stop()
