"""A PostgreSQL server with fsync for the benchmarks."""

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
    """Yield a function that creates a database and returns the URL, or None without a server."""
    bindir = postgresql.bindir()
    if bindir is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="relay-pg-") as name:
        server = postgresql.Server(bindir, Path(name))
        server.start(**SETTINGS)
        try:
            yield server.create
        finally:
            server.stop()
