"""A large archive passes in the memory of a small one."""

from __future__ import annotations

import subprocess
import sys

from relay.testing.sandbox.exports import write_export

MIB = 1024 * 1024

PASS = """
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

def passed(path):
    def read(start, end):
        with path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    size = path.stat().st_size
    archive = CheckedArchive(path.name, size, inspect(size, read), lambda at, end: Stream(path, at))
    told = lambda sent: None
    for body in (ImportBody({}, archive, told), CodeBody({}, archive, archive.code_size, told)):
        assert sum(map(len, body)) == len(body)

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

passed(Path(sys.argv[1]))
before = peak()
passed(Path(sys.argv[2]))
print(peak() - before)
"""


def test_100_mb_pass_in_the_memory_of_3(tmp_path):
    small, big = tmp_path / "small.zip", tmp_path / "big.zip"
    write_export(small, code_size=3 * MIB)
    write_export(big, code_size=100 * MIB)
    command = [sys.executable, "-c", PASS, str(small), str(big)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2 * 1024, "KiB of growth"
