"""M1, M3: four archives of 300 MB at once; hours at a steady rate."""

from __future__ import annotations

import os
import re
from pathlib import Path
from time import monotonic, sleep

from tests.torture.children import Child
from tests.torture.record import Upload, export
from tests.torture.scenario import SQLITE, Run, scenario
from tests.torture.world import World, wait_until

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


@scenario("M1", "300 MB, four at once", alone=True)
def big(run: Run) -> None:
    size = run.size(50 if run.engine == SQLITE else 20, 299) * MIB
    with run.world(on_disk=True, target='max_size = "320MiB"', read_timeout="120s") as world:
        web = world.serve("--no-worker")
        worker = world.work()
        _deliver(world, web, [world.upload("small")], 60)
        before, cpu = _peak(worker), _cpu(worker)
        body, digest = export("big", "1", size - MIB)
        uploads = []
        for number in range(4):
            version = world.bucket.put(f"prod/big{number}.zip", body)
            uploads.append(world.record.add_upload(Upload(version, f"big{number}", digest)))
        world.path.write_text(world.path.read_text().replace("on_conflict", f"{STEM}on_conflict"))
        web.kill()
        web = world.serve("--no-worker")
        _deliver(world, web, uploads, 300)
        grown, spent = _peak(worker) - before, (_cpu(worker) - cpu) / 4 * 300 * MIB / size
        run.runs = 4
        run.figures |= {"MB each": round(size / 1e6), "RSS + MiB": grown}
        run.figures["CPU s per 300 MB"] = round(spent, 2)
        run.must(grown <= 64, f"{grown} MiB more than for a small archive")
        run.must(spent <= run.size(15, 5) / 2, f"{spent:.1f} s of CPU")


STEM = 'func_name = "{stem}"\n'


def _deliver(world: World, web: Child, uploads: list[Upload], within: float) -> None:
    world.announce_all(lambda: web.url, uploads)
    world.settle(within)


def _peak(child: Child) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", _proc(child, "status"))
    return int(found[1]) // 1024 if found else 0


def _resident(child: Child) -> int:
    """Return the current resident memory in MiB, including shared memory."""
    found = re.search(r"VmRSS:\s+(\d+) kB", _proc(child, "status"))
    return int(found[1]) // 1024 if found else 0


def _cpu(child: Child) -> float:
    fields = _proc(child, "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _proc(child: Child, name: str) -> str:
    return Path(f"/proc/{child.pid}/{name}").read_text()


@scenario("M3", "20 ev/s for SOAK (30m), retention, worker recycled", engines=(SQLITE,), in_ci=())
def soak(run: Run) -> None:
    """Import the same functions repeatedly while retention deletes old deliveries.

    Retention keeps the last events of each object, so the number of objects bounds the ledger. The
    check remembers deleted deliveries, so every upload is checked against every invariant.
    """
    seconds, rate = _seconds(os.environ.get("SOAK", "40s" if run.quick else "30m")), 20
    kept = f'deliveries = "{run.size(200, 2000)}"'
    constants = {"relay.delivery.retention_loop:EVERY": {"seconds": 5}}
    with run.world(more=f"[retention]\n{kept}", on_conflict="update") as world:
        web = world.serve("--no-worker", constants=constants)
        worker = world.work(constants=constants)
        start, number, recycled = monotonic(), 0, monotonic()
        samples: list[tuple[float, int, int]] = []
        while (elapsed := monotonic() - start) < seconds:
            sleep(max(start + number / rate - monotonic(), 0))
            world.announce_all(lambda: web.url, [_upload_again(run, world, number)], threads=1)
            number += 1
            if number % rate == 0:
                world.ledger.remember()
            if number % (rate * 5) == 0:
                samples.append((elapsed, _resident(worker), world.ledger.bytes() // 1024))
            if monotonic() - recycled > max(seconds / 6, 10):
                worker.stop()
                worker, recycled = world.work(constants=constants), monotonic()
        wait_until(lambda: not _open(world), 120, world.log)
        run.runs = number
        _check_growth(run, samples)
        _check_imports(run, world)


def _upload_again(run: Run, world: World, number: int) -> Upload:
    functions = run.size(50, 500)
    function = f"f{number % functions:03}"
    if number >= functions:
        world.bucket.remove(f"prod/{function}.zip")  # the bucket keeps every version in memory
    return world.upload(function, str(number))


def _check_imports(run: Run, world: World) -> None:
    failed = world.ledger.counts().get(("import", "failed"), 0)
    run.must(not failed, f"{failed} failed")
    effective = sum(world.record.effective().values())
    deleted = len(world.ledger.deliveries()) - world.ledger.count("deliveries")
    run.figures |= {"effective": effective, "rows that retention took": deleted}
    run.must(effective == run.runs, f"{effective} effective imports of {run.runs}")
    run.must(deleted > 0, "retention deleted nothing: this proves nothing")
    wal = Path(f"{world.ledger.path}-wal")
    run.must(not wal.exists() or wal.stat().st_size < 64 * MIB, "the WAL grew")


def _check_growth(run: Run, samples: list[tuple[float, int, int]]) -> None:
    """Compare the second half with the first: bounded sizes no longer grow."""
    half = len(samples) // 2
    memory = [[rss for _, rss, _ in part] for part in (samples[:half], samples[half:])]
    size = [[kib for _, _, kib in part] for part in (samples[:half], samples[half:])]
    means = [round(sum(part) / max(len(part), 1), 1) for part in memory]
    tops = [max(part, default=0) for part in size]
    run.figures |= {"RSS MiB, halves": means, "ledger KiB at most, halves": tops}
    if not run.quick:
        run.must(means[1] <= means[0] + 8, f"memory grew: {means} MiB")
        run.must(tops[1] <= 1.2 * tops[0], f"the ledger grew: {tops} KiB")


def _open(world: World) -> int:
    counts = world.ledger.counts()
    return sum(number for (_, state), number in counts.items() if state in ("pending", "running"))


def _seconds(text: str) -> float:
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]
