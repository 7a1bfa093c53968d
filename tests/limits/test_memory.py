"""Imports of 300 MiB under memory limits that the kernel enforces."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1024 * 1024
LIMITED = Path(__file__).with_name("limited.py")


@pytest.fixture
def limited(benchmarks, folder, tmp_path):
    """limited(way, file, times, limit) -> the finished process; TMPDIR must stay empty."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    files = sorted(folder.iterdir())
    with (
        benchmarks.servers.running("sink") as sink,
        benchmarks.servers.running("store", 0, *files) as store,
    ):

        def limited(way, file, times, limit):
            ports = json.dumps({"sink": sink, "store": store})
            arguments = (way, folder / file, folder / "small.zip", ports, times, limit)
            result = subprocess.run(
                [sys.executable, str(LIMITED), *map(str, arguments)],
                capture_output=True,
                text=True,
                timeout=120,
                env={"TMPDIR": str(temporary)},
                check=False,
            )
            assert list(temporary.iterdir()) == []
            return result

        yield limited


@pytest.mark.parametrize("way", ["relay_store", "relay_file"])
@pytest.mark.parametrize("file", ["big.zip", "packed.zip"])
def test_an_import_needs_eight_mib_and_no_file(limited, way, file):
    result = limited(way, file, 1, 8 * MIB)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) <= 8 * MIB


def test_four_concurrent_imports_need_sixteen_mib_each(limited):
    result = limited("relay_store", "big.zip", 4, 4 * 16 * MIB)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) <= 4 * 16 * MIB


def test_an_import_that_holds_the_archive_in_memory_exceeds_the_limits(limited):
    """Prove that the limits work."""
    result = limited("naive", "big.zip", 1, 64 * MIB)
    assert result.returncode != 0
    assert "MemoryError" in result.stderr
