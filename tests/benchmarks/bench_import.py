"""Compares the import path with other methods and with the copy speed.

Each method runs in a separate process, in turns for each archive. The best run counts, because
disturbances only add time. `python bench_import.py QUICK` uses small sizes only.
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
"""The copy that each method is compared with; by default that of the file."""

LABELS = {
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


def measure(methods, archive, warm, ports):
    """Return the best figures of each method."""
    runs = {method: [] for method in methods}
    for turn in range(3):
        for method in methods:
            if turn < RUNS.get(method, 3):
                runs[method].append(run(method, archive, warm, ports))
    return {method: min(done, key=lambda run: run["wall"]) for method, done in runs.items()}


def run(method, archive, warm, ports):
    command = [sys.executable, HERE / "methods.py", method, archive, warm, json.dumps(ports)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def rows(size, kind, archive, figures):
    """Yield the table rows of an archive."""
    length = archive.stat().st_size
    for method, best in figures.items():
        limit = figures[LIMITS.get(method, "copy_file")]["wall"]
        cells = (
            f"{size:>4} {kind:<9}{LABELS[method]:<23}",
            f"{best['wall'] * 1000:>8.0f}{best['wall'] / limit:>8.2f}",
            f"{best['wall'] / figures['relay_store']['wall']:>8.2f}{best['cpu'] * 1000:>8.0f}",
            f"{best['memory'] / MIB:>8.1f}{best['disk'] / MIB:>6.1f}",
            f"{length / best['wall'] / 1e6:>8.0f}",
        )
        yield "".join(cells)


def summary(figures, archive):
    """Yield the promised and the measured figures."""
    stored, deflated = figures["stored"], figures["deflated"]
    relay, limit = stored["relay_store"]["wall"], stored["copy_store"]["wall"]
    digested = stored["digested"]["wall"]
    yield f"stored, from S3: {relay / limit:.2f} x the limit (1.3 promised)"
    yield f"stored, from S3, with SHA-512 too: {digested / limit:.2f} x the limit"
    if "sdk" in stored:
        official, folder = stored["sdk"]["wall"], stored["relay_file"]["wall"]
        yield f"stored, from a file: {official / folder:.1f} times the SDK's speed (6 promised)"
        yield f"stored, from S3: {official / relay:.1f} times the SDK's speed"
    rate = archive.stat().st_size / deflated["relay_store"]["wall"] / 1e6
    yield f"deflated, from S3: {rate:.0f} MB/s of input (150 promised)"


say = partial(print, flush=True)


def main(sizes):
    methods = list(LABELS)
    if importlib.util.find_spec(SDK) is None:
        methods.remove("sdk")
        say(f"{SDK} is not installed (make setup installs it): rows without the SDK")
    columns = ("wall ms", "x limit", "x relay", "CPU ms", "+MiB", "disk", "MB/s")
    widths = (8, 8, 8, 8, 8, 6, 8)
    head = "".join(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True))
    say(f"{'MiB':>4} {'code':<9}{'method':<23}{head}")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        paths = {(size, kind): folder / f"{kind}{size}.zip" for size in sizes for kind in KINDS}
        warm = folder / "warm.zip"
        archives.write_stored(warm, 2 * MIB)
        for (size, kind), path in paths.items():
            KINDS[kind](path, size * MIB)
        ports = {kind: stack.enter_context(servers.running(kind)) for kind in ("sink", "drain")}
        ports["store"] = stack.enter_context(servers.running("store", 0, warm, *paths.values()))
        figures = {}
        for (size, kind), path in paths.items():
            figures[kind] = measure(methods, path, warm, ports)
            for line in rows(size, kind, path, figures[kind]):
                say(line)
        for line in summary(figures, paths[sizes[-1], "deflated"]):
            say(f"{sizes[-1]} MiB {line}")


if __name__ == "__main__":
    main(SIZES[:2] if len(sys.argv) > 1 else SIZES)
