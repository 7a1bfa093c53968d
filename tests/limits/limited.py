"""Runs concurrent imports under memory and file limits that the kernel enforces.

    python limited.py METHOD FILE WARM PORTS TIMES BYTES

Imports the small file WARM first. Then it limits the growth of the data segment to BYTES
(RLIMIT_DATA), forbids writing to files (RLIMIT_FSIZE) and imports FILE, TIMES in parallel. Prints
the growth of the resident set in bytes; exits with 1 if an import fails.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import methods


def process_status(name):
    """Return a value of /proc/self/status in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) * 1024


def set_limit(name, value):
    resource.setrlimit(name, (value, resource.getrlimit(name)[1]))


def main(name, big, small, ports, times, limit):
    os.environ["no_proxy"] = "*"
    import_file = methods.METHODS[name](json.loads(ports), Path(big).parent)
    with ThreadPoolExecutor(int(times)) as pool:

        def import_all(path):
            futures = [pool.submit(import_file, Path(path)) for _ in range(int(times))]
            for future in futures:
                future.result()

        for _ in range(3):
            import_all(small)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM
        before = process_status("VmRSS")
        set_limit(resource.RLIMIT_FSIZE, 0)
        set_limit(resource.RLIMIT_DATA, process_status("VmData") + int(limit))
        import_all(big)
        set_limit(resource.RLIMIT_DATA, resource.RLIM_INFINITY)
    sys.stdout.write(str(process_status("VmHWM") - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
