"""Measures time, requests and bytes needed to refuse a bad archive of 300 MiB."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import archives
import methods
import servers

from relay.delivery.import_steps import open_archive

MIB = 1024 * 1024
SIZE = 300 * MIB
DELAYS = (0, 0.1)


def write_all(folder):
    """Write the bad archives; return their paths by defect."""
    good = folder / "good.zip"
    archives.write_stored(good, SIZE)
    content = good.read_bytes()
    good.unlink()
    bad = {}
    for number, (defect, (spoil, _)) in enumerate(archives.SPOILED.items()):
        bad[defect] = folder / f"bad{number}.zip"
        bad[defect].write_bytes(spoil(content))
    return bad


def refuse(handler, path):
    """Return the code of the first error and the seconds until it was found."""
    started = time.perf_counter()
    report = open_archive(handler, methods.in_s3(path), "require").report
    assert report.errors, path.name
    return report.errors[0].code, time.perf_counter() - started


say = partial(print, flush=True)


def main():
    os.environ["no_proxy"] = "*"
    say(f"{'what is wrong':<22}{'found':<22}{'store waits':>12}{'ms':>8}{'requests':>10}{'KiB':>8}")
    with tempfile.TemporaryDirectory() as name:
        bad = write_all(Path(name))
        for delay in DELAYS:
            with servers.running("store", delay, *bad.values()) as port:
                handler = methods.s3(port)
                for defect, path in bad.items():
                    servers.take_counts(port)
                    code, seconds = refuse(handler, path)
                    counts = servers.take_counts(port)
                    kib = counts["bytes"] / 1024
                    figures = f"{seconds * 1000:>8.0f}{counts['requests']:>10}{kib:>8.0f}"
                    say(f"{defect:<22}{code:<22}{delay * 1000:>9.0f} ms{figures}")
                handler.close()


if __name__ == "__main__":
    main()
