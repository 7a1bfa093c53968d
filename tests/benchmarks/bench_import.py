"""The import path against what else brings an archive there, and against the limit; one table.

Each way runs in a process of its own, the ways of one archive in turns; the best of the runs
counts, because whatever disturbs only adds. `python bench_import.py QUICK` takes small sizes only.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import archives
import servers

MIB = 1024 * 1024
HERE = Path(__file__).parent
SIZES = (1, 10, 100, 300)
KINDS = {"stored": archives.write_stored, "deflated": archives.write_deflated}
LIMITS = {"copy_store": "copy_store", "digested": "copy_store", "relay_store": "copy_store"}
"""What each way is held against; else the copy of the file."""

WORDS = {
    "copy_file": "limit: file, copied",
    "relay_file": "relay, from a folder",
    "copy_store": "limit: object, copied",
    "digested": "relay, S3, SHA-512",
    "relay_store": "relay, from S3",
    "naive": "read, b64encode, post",
    "sdk": "official SDK",
}
RUNS = {"naive": 1, "sdk": 1}
SDK = "huaweicloudsdkfunctiongraph"


def measured(ways, archive, warm, ports):
    """The best figures of each way."""
    runs = {way: [] for way in ways}
    for turn in range(3):
        for way in ways:
            if turn < RUNS.get(way, 3):
                runs[way].append(run(way, archive, warm, ports))
    return {way: min(done, key=lambda one: one["wall"]) for way, done in runs.items()}


def run(way, archive, warm, ports):
    command = [sys.executable, HERE / "ways.py", way, archive, warm, json.dumps(ports)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def rows(size, kind, archive, figures):
    """The lines of the table about one archive."""
    length = archive.stat().st_size
    for way, one in figures.items():
        limit = figures[LIMITS.get(way, "copy_file")]["wall"]
        told = (
            f"{size:>4} {kind:<9}{WORDS[way]:<23}",
            f"{one['wall'] * 1000:>8.0f}{one['wall'] / limit:>8.2f}",
            f"{one['wall'] / figures['relay_store']['wall']:>8.2f}{one['cpu'] * 1000:>8.0f}",
            f"{one['memory'] / MIB:>8.1f}{one['disk'] / MIB:>6.1f}",
            f"{length / one['wall'] / 1e6:>8.0f}",
        )
        yield "".join(told)


def bars(figures, archive):
    """What is promised, and what came out."""
    stored, deflated = figures["stored"], figures["deflated"]
    ours, limit = stored["relay_store"]["wall"], stored["copy_store"]["wall"]
    digested = stored["digested"]["wall"]
    yield f"stored, from S3: {ours / limit:.2f} x the limit (1.3 promised)"
    yield f"stored, from S3, with SHA-512 too: {digested / limit:.2f} x the limit"
    if "sdk" in stored:
        theirs, folder = stored["sdk"]["wall"], stored["relay_file"]["wall"]
        yield f"stored, both from a file: {theirs / folder:.1f} times the SDK's speed (6 promised)"
        yield f"stored, from S3: {theirs / ours:.1f} times the SDK's speed"
    rate = archive.stat().st_size / deflated["relay_store"]["wall"] / 1e6
    yield f"deflated, from S3: {rate:.0f} MB/s of input (150 promised)"


say = partial(print, flush=True)


def main(sizes):
    ways = list(WORDS)
    if importlib.util.find_spec(SDK) is None:
        ways.remove("sdk")
        say(f"{SDK} is not installed (make setup does it): its lines are left out")
    columns = ("wall ms", "x limit", "x relay", "CPU ms", "+MiB", "disk", "MB/s")
    widths = (8, 8, 8, 8, 8, 6, 8)
    head = "".join(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True))
    say(f"{'MiB':>4} {'code':<9}{'way':<23}{head}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        made = {(size, kind): folder / f"{kind}{size}.zip" for size in sizes for kind in KINDS}
        warm = folder / "warm.zip"
        archives.write_stored(warm, 2 * MIB)
        for (size, kind), path in made.items():
            KINDS[kind](path, size * MIB)
        ports = {kind: stack.enter_context(servers.running(kind)) for kind in ("sink", "drain")}
        ports["store"] = stack.enter_context(servers.running("store", 0, warm, *made.values()))
        figures = {}
        for (size, kind), path in made.items():
            figures[kind] = measured(ways, path, warm, ports)
            for line in rows(size, kind, path, figures[kind]):
                say(line)
        for line in bars(figures, made[sizes[-1], "deflated"]):
            say(f"{sizes[-1]} MiB {line}")


if __name__ == "__main__":
    main(SIZES[:2] if len(sys.argv) > 1 else SIZES)
