"""A bad archive of 300 MiB is refused from a few KB, soon even beside a slow store."""

from __future__ import annotations

import time

import pytest

from relay.deliver import archive_of

DELAY = 0.1
LONGEST = 1.0
MOST = 2**20


def name_that_leads_out(content):
    return content.replace(b"hello.yaml", b"../../evil")


def cut(content):
    return content[:-1000]


def without_any_end(content):
    return content[:-200_000].replace(b"PK", b"KP")


def encrypted(content):
    at = content.rindex(b"PK\1\2")
    return content[: at + 8] + b"\1\0" + content[at + 10 :]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (name_that_leads_out, "archive.name_parent"),
        (cut, "archive.truncated"),
        (without_any_end, "archive.not_a_zip"),
        (encrypted, "archive.encrypted"),
    ],
)
def test_a_bad_archive_is_refused_in_a_second_from_a_few_kb(
    benchmarks, folder, tmp_path, spoil, code
):
    path = tmp_path / "bad.zip"
    path.write_bytes(spoil((folder / "big.zip").read_bytes()))
    try:
        with benchmarks.servers.running("store", DELAY, path) as port:
            handler = benchmarks.ways.s3(port)
            started = time.perf_counter()
            report = archive_of(handler, benchmarks.ways.in_s3(path), "bad.zip", "require").report
            took = time.perf_counter() - started
            seen = benchmarks.servers.told(port)
            handler.close()
    finally:
        path.unlink()
    assert code in {finding.code for finding in report.errors}
    assert report.size > 290 * 2**20
    assert seen["bytes"] <= MOST
    assert took >= seen["requests"] * DELAY, "the store was not slow"
    assert took <= LONGEST
