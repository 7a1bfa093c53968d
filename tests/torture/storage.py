"""S1, S3, S5: a full disk, a jumping clock, a disk whose fsync fails."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import sleep, time

from relay.model import utc_now
from tests.torture.record import Upload
from tests.torture.scenario import SQLITE, Run, scenario
from tests.torture.world import World, wait_until

PADDING = "x" * 30_000


@scenario("S1", "the disk is full, then has space again", engines=(SQLITE,))
def full(run: Run) -> None:
    number = run.size(300, 500)
    with _small_disk() as (folder, kind), run.world(url=f"sqlite:///{folder}/relay.db") as world:
        limit = {} if kind == "tmpfs" else {"file_limit": 4 << 20}
        child = world.serve(**limit)
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        statuses = Counter(_announce_padded(world, child.url, upload) for upload in uploads)
        run.figures |= {"disk": kind, "answers": dict(statuses)}
        _add_space(folder, kind, child.pid)
        world.announce_all(lambda: child.url, world.not_accepted(uploads))
        world.settle(300)
        run.runs = number
        run.figures["intact"] = world.ledger.intact()
        run.must(world.ledger.intact(), "integrity_check")
        run.must(set(statuses) <= {200, 503}, f"answers: {dict(statuses)}")
        run.must(statuses[503] > 0, "the disk was never full: this proves nothing")


def _announce_padded(world: World, url: str, upload: Upload) -> int:
    """Post a large notification, so that a small disk is soon full."""
    record = upload.version.record()
    record["Records"][0]["userIdentity"] = {"principalId": PADDING}
    return world.announce(url, upload, record=record)


@contextmanager
def _small_disk() -> Iterator[tuple[Path, str]]:
    folder = Path(tempfile.mkdtemp(prefix="relay-torture-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    kind = "tmpfs"
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        kind = "RLIMIT_FSIZE"
    try:
        yield folder, kind
    finally:
        if kind == "tmpfs":
            subprocess.run(["umount", str(folder)], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _add_space(folder: Path, kind: str, pid: int) -> None:
    if kind == "tmpfs":
        wider = ["mount", "-o", "remount,size=256m", str(folder)]
        subprocess.run(wider, capture_output=True, check=True)
    else:
        subprocess.run(
            ["pkill", "-USR2", "-g", str(pid)], check=True
        )  # only the process group of that child


# In CI on SQLite only: only the clock of the relay jumps, and no database reads a clock.
@scenario("S3", "the clock jumps by an hour, and a day back", in_ci=(SQLITE,))
def clock(run: Run) -> None:
    number = run.size(40, 500)
    chance = random.Random(3)
    options = {"workers": 4, "concurrency": 8, "lease": "10s", "target": 'auth = "token"'}
    with run.world(**options) as world:
        path, set_clock = world.adjustable_clock()
        for _ in range(number):
            at = chance.random()
            fault = {"status": 500} if at < 0.3 else {"delay": 1.5} if at < 0.5 else {}
            world.sandbox.fault(operation="import", **fault)
        web = world.serve("--no-worker", clock=path)
        world.work(clock=path)
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        error, slowest = 0.0, []
        # The sandbox keeps the true time, so that its responses reveal the error. The inbox follows
        # the wrong clock: it would reject a signature that is an hour off, as it should.
        world.inbox.clock = lambda: utc_now() + timedelta(seconds=error)
        parts = [uploads[n::5] for n in range(5)]
        for part, jump in zip(parts, (0, 3600, -3600, -86_400, 3600), strict=True):
            started = time()
            world.announce_all(lambda: web.url, part)
            error += jump
            set_clock(error)
            wait_until(lambda: _all_ended(world), 60, world.log, interval=0.1)
            slowest.append(round(time() - started, 1))
        run.runs = number
        run.figures |= {"s after 0, +1 h, -1 h, -24 h, +1 h": slowest}
        run.must(max(slowest) <= 30, f"a retry was frozen: {slowest}")
        lost = world.ledger.rows("select count(*) from attempts where outcome = 'lost'")[0][0]
        run.must(not lost, f"{lost} attempts were lost while they ran")


def _all_ended(world: World) -> bool:
    waiting = [
        s for (_, s), n in world.ledger.counts().items() if s in ("pending", "running") and n
    ]
    known = world.ledger.count("deliveries") if not waiting else 0
    return not waiting and known >= len(world.record.accepted)


@scenario("S5", "every fsync fails for some seconds", engines=(SQLITE,))
def unsynced(run: Run) -> None:
    """No 2xx is sent without durability, and the relay recovers without a restart."""
    number = run.size(20, 200)
    with run.world() as world:
        failing = world.folder / "failing"
        url = world.serve(disk={"failing": str(failing)}).url
        uploads = [world.upload(f"f{n:04}") for n in range(number)]
        world.announce_all(lambda: url, uploads[: number // 2])
        failing.touch()
        statuses = Counter(world.announce(url, upload) for upload in uploads[number // 2 :])
        sleep(1)
        failing.unlink()
        world.announce_all(lambda: url, uploads)
        world.settle(run.size(60, 120))
        run.runs = number
        run.figures |= {"answers": dict(statuses), "intact": world.ledger.intact()}
        run.must(set(statuses) == {503}, f"answers: {dict(statuses)}")
        run.must(world.ledger.intact(), "integrity_check")
