"""D5, A5: more than can be taken, and senders that never finish their request."""

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
from tests.torture.world import World, until

MIB = 1 << 20


def offered(world: World, url: str, uploads: list[Upload], **spec: Any) -> dict[str, Any]:
    """What came of that load; whatever got a 2xx counts as accepted."""
    host, _, port = url.removeprefix("http://").partition(":")
    bodies = [json.dumps(one.version.record()) for one in uploads]
    whole = {"host": host, "port": int(port), "token": HOOK_TOKEN, "bodies": bodies, **spec}
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.load"],
        cwd=ROOT,
        input=json.dumps(whole),
        capture_output=True,
        text=True,
        check=True,
        timeout=spec["seconds"] + 120,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    for number in told["accepted"]:
        world.record.took(uploads[number])
    return told


@scenario("D5", "3,500 ev/s offered, 99 % duplicates", alone=True)
def burst(run: Run) -> None:
    seconds, rate = run.size(2, 30), 3500
    chance = random.Random(5)
    with run.world(on_disk=True, workers=4, concurrency=8) as world:
        child = world.serve()
        uploads = [world.upload(f"f{n:04}") for n in range(seconds * rate // 100)]
        order = [chance.randrange(len(uploads)) for _ in range(seconds * rate)]
        told = offered(
            world, child.url, uploads, order=order, rate=rate, seconds=seconds, connections=200
        )
        recovered = _recovered(world, child.url, uploads)
        late = until(lambda: _late(child.url), 60, world.log)
        run.runs = told["sent"]
        run.figures |= {"answers": told["statuses"], "taken/s": told["sent"] // seconds}
        run.figures |= {"p99 s": round(told["p99"], 2), "recovered s": round(recovered, 1)}
        rss = max(_peak(pid) for pid in [child.pid, *children_of(child.pid)])
        run.figures |= {"RSS MiB": rss, "oldest due s": round(late, 1)}
        run.must(set(told["statuses"]) <= {"200", "503"}, f"answers: {told['statuses']}")
        run.must(told["told when"] == told["statuses"].get("503", 0), "a 503 without Retry-After")
        run.must(rss < 256, f"{rss} MiB")
        run.must(recovered <= run.size(30, 5), f"recovered after {recovered:.1f} s")
        world.tell(lambda: child.url, [u for u in uploads if u.name not in world.record.accepted])
        world.settle(run.size(120, 600))


def _recovered(world: World, url: str, uploads: list[Upload]) -> float:
    """Seconds until ten answers in a row come in a quarter of a second each."""
    began, row = monotonic(), 0
    while row < 10:
        before = monotonic()
        quick = world.announce(url, uploads[0]) == 200 and monotonic() - before < 0.25
        row = row + 1 if quick else 0
    return monotonic() - began


def _late(url: str) -> float:
    text = requests.get(f"{url}/metrics", timeout=30).text
    found = re.search(r'relay_oldest_due_seconds\{kind="import"\} ([0-9.e+-]+)', text)
    return float(found[1]) if found else 0.0


def _peak(pid: int) -> int:
    """MiB at the most so far; what a forked process shares with its parent is in it."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    return int(found[1]) // 1024 if found else 0


@scenario("A5", "500 senders that send nothing, or a byte a second", alone=True)
def slow_senders(run: Run) -> None:
    """Behind gunicorn alone idle ones must not matter; a byte a second takes a thread each, so that
    wants a proxy that waits for whole requests, as deploy/README.md asks for. Bare is told too."""
    seconds, rate, number = run.size(2, 30), 100, run.size(200, 500)
    with run.world(workers=2) as world:
        child = world.serve("--no-worker")
        uploads = [world.upload(f"f{n:04}") for n in range(run.size(20, 100))]
        order = [n % len(uploads) for n in range(seconds * rate)]
        spec = {"order": order, "rate": rate, "seconds": seconds, "connections": 16}
        alone = offered(world, child.url, uploads, **spec)
        limit = max(2, 2 * alone["p99"]) if run.quick else 0.25
        least = (0.5 if run.quick else 0.9) * alone["sent"]

        def held(url: str, **senders: int) -> dict[str, Any]:
            # CI may be busy with others at that moment: that says nothing of these senders.
            for _ in range(3 if run.quick else 1):
                told = offered(world, url, uploads, **senders, **spec)
                if told["p99"] <= limit and told["sent"] >= least:
                    break
            return told

        with _proxied(child.url) as proxied:
            seen = {"idle": held(child.url, idle=number), "slow, proxy": held(proxied, slow=number)}
        if not run.quick:
            bare = offered(world, child.url, uploads, slow=number, **spec)
            run.figures["slow, bare"] = bare["statuses"]
        world.serve()
        world.settle(120)
        run.runs = number
        seen["alone"] = alone
        run.figures |= {f"p99 s {name}": round(one["p99"], 3) for name, one in seen.items()}
        for name, one in seen.items():
            run.must(set(one["statuses"]) == {"200"}, f"{name}: {one['statuses']}")
            run.must(one["p99"] <= limit, f"{name}: p99 {one['p99']:.2f} s")
            run.must(one["sent"] >= least, f"{name}: {one['sent']}, not {least:.0f}")


@contextmanager
def _proxied(url: str) -> Iterator[str]:
    port = url.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.torture.proxy", port]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            yield f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
        finally:
            proxy.kill()
