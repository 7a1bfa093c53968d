"""D5, A5: more load than the relay can accept, and senders that never finish a request."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import requests

from tests.torture.child import ROOT
from tests.torture.configuration import HOOK_TOKEN
from tests.torture.monkeys import children_of
from tests.torture.record import Upload
from tests.torture.scenario import Run, scenario
from tests.torture.world import World

MIB = 1 << 20


def offer_load(world: World, url: str, uploads: list[Upload], **spec: Any) -> dict[str, Any]:
    """Run the load and return the summary. Notifications with a 2xx count as accepted."""
    host, _, port = url.removeprefix("http://").partition(":")
    bodies = [json.dumps(upload.version.record()) for upload in uploads]
    full_spec = {"host": host, "port": int(port), "token": HOOK_TOKEN, "bodies": bodies, **spec}
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.load"],
        cwd=ROOT,
        input=json.dumps(full_spec),
        capture_output=True,
        text=True,
        check=True,
        timeout=spec["seconds"] + 120,
    )
    summary: dict[str, Any] = json.loads(done.stdout)
    for number in summary["accepted"]:
        world.record.mark_accepted(uploads[number])
    return summary


@scenario("D5", "3,500 ev/s offered, 99 % duplicates", alone=True)
def burst(run: Run) -> None:
    seconds, rate = run.size(2, 30), 3500
    chance = random.Random(5)
    with run.world(on_disk=True, workers=4, concurrency=8) as world:
        child = world.serve()
        uploads = [world.upload(f"f{n:04}") for n in range(seconds * rate // 100)]
        order = [chance.randrange(len(uploads)) for _ in range(seconds * rate)]
        summary = offer_load(
            world, child.url, uploads, order=order, rate=rate, seconds=seconds, connections=200
        )
        recovered = _recovery_seconds(world, child.url, uploads)
        oldest = _oldest_due(child.url)
        run.runs = summary["sent"]
        run.figures |= {"answers": summary["statuses"], "taken/s": summary["sent"] // seconds}
        run.figures |= {"p99 s": round(summary["p99"], 2), "recovered s": round(recovered, 1)}
        rss = max(_peak(pid) for pid in [child.pid, *children_of(child.pid)])
        run.figures |= {"RSS MiB": rss, "oldest due s": round(oldest, 1)}
        statuses = summary["statuses"]
        run.must(set(statuses) <= {"200", "503"}, f"answers: {statuses}")
        run.must(summary["retry after"] == statuses.get("503", 0), "a 503 without Retry-After")
        run.must(rss < 256, f"{rss} MiB")
        run.must(recovered <= run.size(30, 5), f"recovered after {recovered:.1f} s")
        world.announce_all(lambda: child.url, world.not_accepted(uploads))
        world.settle(run.size(120, 600))


def _recovery_seconds(world: World, url: str, uploads: list[Upload]) -> float:
    """Return seconds until ten responses in a row take less than 0.25 s each."""
    started, row = monotonic(), 0
    while row < 10:
        sent = monotonic()
        quick = world.announce(url, uploads[0]) == 200 and monotonic() - sent < 0.25
        row = row + 1 if quick else 0
    return monotonic() - started


def _oldest_due(url: str) -> float:
    text = requests.get(f"{url}/metrics", timeout=30).text
    found = re.search(r'relay_oldest_due_seconds\{kind="import"\} ([0-9.e+-]+)', text)
    return float(found[1]) if found else 0.0


def _peak(pid: int) -> int:
    """Return the peak memory in MiB, including memory shared with the parent process."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) // 1024 if found else 0


@scenario("A5", "500 senders that send nothing, or a byte a second", alone=True)
def slow_senders(run: Run) -> None:
    """Hold slow connections open and measure normal requests.

    gunicorn alone must handle idle connections. A connection that sends a byte per second occupies
    a thread, so it needs a buffering proxy, as deploy/README.md requires. The long run also
    measures it without a proxy.
    """
    seconds, rate, number = run.size(2, 30), 100, run.size(200, 500)
    with run.world(workers=2) as world:
        child = world.serve("--no-worker")
        uploads = [world.upload(f"f{n:04}") for n in range(run.size(20, 100))]
        order = [n % len(uploads) for n in range(seconds * rate)]
        spec = {"order": order, "rate": rate, "seconds": seconds, "connections": 16}
        alone = offer_load(world, child.url, uploads, **spec)
        limit = max(2, 2 * alone["p99"]) if run.quick else 0.25
        least = (0.5 if run.quick else 0.9) * alone["sent"]

        def measure(url: str, **senders: int) -> dict[str, Any]:
            # Repeat in CI, where other work on the cores distorts the measurement.
            for _ in range(3 if run.quick else 1):
                summary = offer_load(world, url, uploads, **senders, **spec)
                if summary["p99"] <= limit and summary["sent"] >= least:
                    break
            return summary

        with _proxy(child.url) as proxy_url:
            summaries = {
                "idle": measure(child.url, idle=number),
                "slow, proxy": measure(proxy_url, slow=number),
            }
        if not run.quick:
            bare = offer_load(world, child.url, uploads, slow=number, **spec)
            run.figures["slow, bare"] = bare["statuses"]
        world.serve()
        world.settle(120)
        run.runs = number
        summaries["alone"] = alone
        for name, summary in summaries.items():
            run.figures[f"p99 s {name}"] = round(summary["p99"], 3)
            run.must(set(summary["statuses"]) == {"200"}, f"{name}: {summary['statuses']}")
            run.must(summary["p99"] <= limit, f"{name}: p99 {summary['p99']:.2f} s")
            run.must(summary["sent"] >= least, f"{name}: {summary['sent']}, not {least:.0f}")


@contextmanager
def _proxy(url: str) -> Iterator[str]:
    port = url.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.torture.proxy", port]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.kill()
