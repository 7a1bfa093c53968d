"""Streaming a large archive needs no more memory than a small archive."""

from __future__ import annotations

import subprocess
import sys

from relay.testing.sandbox.exports import write_export

MIB = 1024 * 1024

SCRIPT = """
import re, sys
from pathlib import Path
from relay.archive.inspect import inspect
from relay.targets.functiongraph.body import CodeBody, ImportBody
from relay.model import ObjectInfo
from relay.archive.checked_archive import CheckedArchive

class Stream:
    def __init__(self, path, start):
        self.info = ObjectInfo(path.stat().st_size)
        self._file = path.open("rb")
        self._file.seek(start)
        self.read, self.close = self._file.read, self._file.close

def stream(path):
    def read(start, end):
        with path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    size = path.stat().st_size
    archive = CheckedArchive(size, inspect(size, read), lambda at, end: Stream(path, at))
    ignore = lambda sent: None
    for body in (ImportBody({}, archive, ignore), CodeBody({}, archive, archive.code_size, ignore)):
        assert sum(map(len, body)) == len(body)

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

stream(Path(sys.argv[1]))
before = peak()
stream(Path(sys.argv[2]))
print(peak() - before)
"""


def test_100_mb_need_no_more_memory_than_3_mb(tmp_path):
    small, big = tmp_path / "small.zip", tmp_path / "big.zip"
    write_export(small, code_size=3 * MIB)
    write_export(big, code_size=100 * MIB)
    command = [sys.executable, "-c", SCRIPT, str(small), str(big)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 2 * 1024, "KiB of growth"
