"""U1: a rolling upgrade from the last version without intents, on the same ledger, under load."""

from __future__ import annotations

import itertools
import random
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.torture.child import ROOT
from tests.torture.children import Child
from tests.torture.record import Upload
from tests.torture.scenario import Run, scenario
from tests.torture.world import World, free_port, is_ready, wait_until

OLD = "5e3ae1bf0c287de0c023053c55607f6cec84fe06"
FAULTS = ({"status": 500}, {"drop": True, "commit": True}, {"delay": 0.5})
REFUSAL = "written by a newer Relay"
CODE = 1_200_000


@scenario("U1", "a rolling upgrade: the last version without intents runs beside this one")
def upgrade(run: Run) -> None:
    """The old processes go on when the new ones have migrated the ledger; a restart is refused."""
    number = run.size(10, 500)
    times = {"lease": "4s", "read_timeout": "2s", "workers": 2}
    with _old_version(run) as tree, run.world(**times) as world:
        if tree is None:
            return
        chance = random.Random(1)
        for _ in range(3 * number):
            world.sandbox.fault(operation="import", **(chance.choice((*FAULTS, {}, {}, {}))))
        old = _Version(world, tree)
        uploads = [world.upload(f"f{n:04}") for n in range(3 * number)]
        world.announce_all(lambda: old.web.url, uploads[:number])
        wait_until(lambda: _succeeded(world) >= number // 2, 60, world.log)
        with _in_background(world, lambda: old.web.url, uploads[number : 2 * number]):
            new_web = world.serve("--no-worker")
        # Only the old worker imports on the migrated ledger, then both.
        wait_until(lambda: _succeeded(world) == 2 * number, run.size(60, 300), world.log)
        new_worker = world.work()
        urls = itertools.cycle((old.web.url, new_web.url))
        world.announce_all(lambda: next(urls), uploads[2 * number :])
        run.must(all(child.alive for child in old.children), "an old process ended")
        _kill_during_upload(world, old.worker, new_web.url)
        _start_old_again(run, world, old)
        run.must(old.web.stop() == 0, "the old web process did not stop")
        world.settle(run.size(60, 300))
        run.must(new_web.alive and new_worker.alive, "a new process ended")
        _measure(run, world)


class _Version:
    """The processes of the old version. They do not know all settings of this version."""

    def __init__(self, world: World, tree: Path) -> None:
        self._world, self._tree = world, str(tree)
        self._config = world.folder / "old.toml"
        lines = world.path.read_text().splitlines()
        known = [line for line in lines if not line.startswith("gone_after")]
        self._config.write_text("\n".join(known))
        port = free_port()
        self.web = self.start("serve", "--no-worker", "--port", str(port))
        self.web.url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_ready(self.web.url) or not self.web.alive, 60, world.log)
        self.worker = self.start("work")
        self.children = [self.web, self.worker]

    def start(self, *arguments: str, log: str = "old") -> Child:
        path = str(self._world.folder / f"{log}.log")
        return self._world.start(*arguments, config=str(self._config), tree=self._tree, log=path)


@contextmanager
def _old_version(run: Run) -> Iterator[Path | None]:
    """Unpack the old version from the history; None if the checkout has no history."""
    command = ["git", "-C", str(ROOT), "archive", OLD, "relay", "handlers"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        run.figures["skipped"] = "no history"
        yield None
        return
    with TemporaryDirectory(prefix="relay-torture-old-") as folder:
        with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


@contextmanager
def _in_background(world: World, url: Callable[[], str], uploads: list[Upload]) -> Iterator[None]:
    """Announce the uploads while the block runs."""
    sender = threading.Thread(target=world.announce_all, args=(url, uploads))
    sender.start()
    yield
    sender.join()


def _kill_during_upload(world: World, worker: Child, url: str) -> None:
    """Kill the old worker after the last byte of a call that may take effect later."""
    known = len(world.sandbox.calls)
    world.sandbox.faults.clear()
    world.sandbox.fault(operation="import", trickle=CODE, times=None)
    world.announce_all(lambda: url, [world.upload(f"big{n}", size=CODE) for n in range(4)])
    wait_until(lambda: any(c.received > 10_000 for c in world.sandbox.calls[known:]), 30, world.log)
    worker.kill()
    world.sandbox.faults.clear()


def _start_old_again(run: Run, world: World, old: _Version) -> None:
    code = old.start("work", log="refused").wait(60)
    said = (world.folder / "refused.log").read_text()
    run.must(code != 0, "the old version started on the new ledger")
    run.must(REFUSAL in said, f"the old version did not say why: {said[-500:]}")
    run.figures["a restart of the old version"] = "refused"


def _measure(run: Run, world: World) -> None:
    query = """select coalesce(records_intents, %s), count(*) from attempts
        where kind = 'import' group by 1"""
    false = "0" if world.ledger.is_sqlite else "false"
    by_version = Counter({bool(new): n for new, n in world.ledger.rows(query % false)})
    succeeded = _succeeded(world)
    run.runs = len(world.record.accepted)
    run.figures |= {"attempts of the old, the new": [by_version[False], by_version[True]]}
    run.must(succeeded == run.runs, f"{succeeded} of {run.runs} succeeded")
    run.must(by_version[False] > 0 < by_version[True], "only one version worked")


def _succeeded(world: World) -> int:
    return world.ledger.counts().get(("import", "succeeded"), 0)
