"""Imports as many times at once as asked, inside limits that the kernel holds it to.

    python limited.py WAY FILE WARM PORTS TIMES BYTES

Small imports go first, as many at once. From then on the process may take BYTES more of memory for
its data (RLIMIT_DATA) and may not write to any file (RLIMIT_FSIZE). Prints by how many bytes its
resident set grew; says what failed otherwise, and ends with 1.
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

import ways


def said(name):
    """A number of /proc/self/status, in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) * 1024


def limit(name, most):
    resource.setrlimit(name, (most, resource.getrlimit(name)[1]))


def main(name, big, small, ports, times, most):
    os.environ["no_proxy"] = "*"
    bring = ways.WAYS[name](json.loads(ports), Path(big).parent)
    with ThreadPoolExecutor(int(times)) as pool:

        def all_bring(path):
            started = [pool.submit(bring, Path(path)) for _ in range(int(times))]
            for one in started:
                one.result()

        for _ in range(3):
            all_bring(small)
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the highest resident set counts from here
        before = said("VmRSS")
        limit(resource.RLIMIT_FSIZE, 0)
        limit(resource.RLIMIT_DATA, said("VmData") + int(most))
        all_bring(big)
        limit(resource.RLIMIT_DATA, resource.RLIM_INFINITY)
    sys.stdout.write(str(said("VmHWM") - before))


if __name__ == "__main__":
    main(*sys.argv[1:])
