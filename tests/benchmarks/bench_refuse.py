"""How long, how many requests and bytes it takes to refuse a bad archive of 300 MiB; one table."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from pathlib import Path

import archives
import servers
import ways

from relay.delivery.import_steps import open_archive

MIB = 1024 * 1024
SIZE = 300 * MIB
DELAYS = (0, 0.1)


def write_all(folder):
    """The bad archives, by what is wrong with them."""
    good = folder / "good.zip"
    archives.write_stored(good, SIZE)
    content = good.read_bytes()
    good.unlink()
    bad = {}
    for number, (words, (spoil, _)) in enumerate(archives.SPOILED.items()):
        bad[words] = folder / f"bad{number}.zip"
        bad[words].write_bytes(spoil(content))
    return bad


def refused(handler, path):
    """The code of the first error, and the seconds until it was known."""
    started = time.perf_counter()
    report = open_archive(handler, ways.in_s3(path), "require").report
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
                handler = ways.s3(port)
                for words, path in bad.items():
                    servers.told(port)
                    code, seconds = refused(handler, path)
                    seen = servers.told(port)
                    figures = (
                        f"{seconds * 1000:>8.0f}{seen['requests']:>10}{seen['bytes'] / 1024:>8.0f}"
                    )
                    say(f"{words:<22}{code:<22}{delay * 1000:>9.0f} ms{figures}")
                handler.close()


if __name__ == "__main__":
    main()
