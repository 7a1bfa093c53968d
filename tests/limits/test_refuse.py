"""A bad archive of 300 MiB is refused from a few KB, soon even beside a slow store."""

from __future__ import annotations

import time

import pytest

from relay.delivery.deliver import archive_of

DELAY = 0.1
LONGEST = 1.0
MOST = 2**20


def test_a_bad_archive_is_refused_in_a_second_from_a_few_kb(benchmarks, bad):
    path, code = bad
    with benchmarks.servers.running("store", DELAY, path) as port:
        handler = benchmarks.ways.s3(port)
        started = time.perf_counter()
        report = archive_of(handler, benchmarks.ways.in_s3(path), "bad.zip", "require").report
        took = time.perf_counter() - started
        seen = benchmarks.servers.told(port)
        handler.close()
    assert code in {finding.code for finding in report.errors}
    assert report.size > 290 * 2**20
    assert seen["bytes"] <= MOST
    assert took >= seen["requests"] * DELAY, "the store was not slow"
    assert took <= LONGEST


@pytest.fixture(params=[0, 1, 2, 3])
def bad(benchmarks, folder, tmp_path, request):
    """A bad archive of 300 MiB, and the code of its finding."""
    spoil, code = list(benchmarks.archives.SPOILED.values())[request.param]
    path = tmp_path / "bad.zip"
    path.write_bytes(spoil((folder / "big.zip").read_bytes()))
    yield path, code
    path.unlink()
