"""Fixtures: big archives, and the benchmark modules that serve and import them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="session")
def benchmarks():
    """The modules of tests/benchmarks, which is not a package: archives, servers, methods."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from types import SimpleNamespace

        import archives
        import methods
        import servers
    finally:
        sys.path.remove(str(BENCHMARKS))
    return SimpleNamespace(archives=archives, servers=servers, methods=methods)


@pytest.fixture(scope="session")
def folder(benchmarks, tmp_path_factory):
    """A folder with big.zip (300 MiB, stored), packed.zip (300 MiB, deflated) and small.zip."""
    folder = tmp_path_factory.mktemp("archives")
    benchmarks.archives.write_stored(folder / "big.zip", 300 * 2**20)
    benchmarks.archives.write_deflated(folder / "packed.zip", 300 * 2**20)
    benchmarks.archives.write_stored(folder / "small.zip", 3 * 2**20)
    yield folder
    for path in folder.iterdir():
        path.unlink()
