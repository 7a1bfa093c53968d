"""A bad archive of 300 MiB is refused after reading a few KB, quickly even from a slow storage."""

from __future__ import annotations

import time

import pytest

from relay.delivery.import_steps import open_archive

DELAY = 0.1
MAX_SECONDS = 1.0
MAX_BYTES = 2**20


def test_a_bad_archive_is_refused_within_a_second_after_a_few_kb(benchmarks, bad):
    path, code = bad
    with benchmarks.servers.running("store", DELAY, path) as port:
        handler = benchmarks.methods.s3(port)
        started = time.perf_counter()
        report = open_archive(handler, benchmarks.methods.in_s3(path), "require").report
        seconds = time.perf_counter() - started
        seen = benchmarks.servers.take_counts(port)
        handler.close()
    assert code in {finding.code for finding in report.errors}
    assert report.size > 290 * 2**20
    assert seen["bytes"] <= MAX_BYTES
    assert seconds >= seen["requests"] * DELAY, "the storage was not slow"
    assert seconds <= MAX_SECONDS


@pytest.fixture(params=[0, 1, 2, 3])
def bad(benchmarks, folder, tmp_path, request):
    """The path of a bad archive of 300 MiB, and the code of the finding."""
    spoil, code = list(benchmarks.archives.SPOILED.values())[request.param]
    path = tmp_path / "bad.zip"
    path.write_bytes(spoil((folder / "big.zip").read_bytes()))
    yield path, code
    path.unlink()
