"""K1: kill -9 at each of sixteen named points, then a restart: no upload is lost or duplicated."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

from tests.torture.children import Child
from tests.torture.points import SWEPT
from tests.torture.record import Upload
from tests.torture.scenario import BOTH, SQLITE, Run, scenario
from tests.torture.world import STREAM_EVERYTHING, World, wait_until

ACCEPTING = ("accept: before commit", "accept: after commit")
PASSES = {
    "mid-download": 6,
    "mid-upload": 3,
    "mid-migration": 18,
    "mid-commit": 60,
    "during drain": 2,
}
"""How often a run passes the point at least. The kill is at a random pass. Default: 1."""

CODE = 1_200_000
"""Code size in bytes: the upload has four chunks."""

RESUME_LIMIT = 2.0
"""Median seconds from a restart to the end of the interrupted delivery, on idle cores."""

TAKEOVER_LIMIT = 35.0
"""Maximum of these seconds on busy cores: the lease must expire first."""

BASELINE_EVERY = 10
"""Measure a start without an interrupted delivery after this number of kills."""


@dataclass
class RestartTimes:
    """Seconds from a start to the end of an import and the message, with and without a kill."""

    resumed: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)


def kill_at(run: Run, name: str, times: int, restart_times: RestartTimes) -> None:
    """Kill a process `times` times at the point, in a single world."""
    chance = random.Random(name)
    if name == "mid-migration":
        for number in range(times):
            with run.world() as world:
                restart_times.resumed.append(
                    _migration(world, chance.randint(1, PASSES[name]), number)
                )
            if not run.quick and number % BASELINE_EVERY == 0:
                with run.world() as world:
                    restart_times.baseline.append(_migration(world, 0, number))
        return
    with run.world(lease="30s", read_timeout="5s") as world:
        for number in range(times):
            nth = chance.randint(1, PASSES.get(name, 1))
            combined = bool(number % 2)
            restart_times.resumed.append(_kill(world, name, nth, combined=combined, number=number))
            if not run.quick and number % BASELINE_EVERY == 0:
                restart_times.baseline.append(_baseline(world, combined=combined, number=number))


def _kill(world: World, name: str, nth: int, *, combined: bool, number: int) -> float:
    """Kill and restart. `combined`: web and worker run in the same process."""
    world.marker.unlink(missing_ok=True)
    upload = world.upload(f"f{number:04}", size=CODE)
    _prepare(world, name)
    before = len(world.sandbox.calls)
    first = _start(world, name, nth, combined=combined)
    world.announce(first[0].url, upload)
    _wait_for_kill(world, name, before, first)
    assert world.marker.exists(), f"{name} ({nth}) was not passed: {world.log()}"
    for child in first:
        if child.alive and (combined or name in ACCEPTING):
            child.kill()
    world.sandbox.faults.clear()
    wall = time()
    restarted = _start(world, None, 1, combined=combined, web=first[0] if first[0].alive else None)
    world.announce_all(lambda: restarted[0].url, [] if _accepted(world, upload) else [upload])
    world.settle(60)
    ended = _ended(world, upload)
    for child in {*first, *restarted}:
        child.kill()
    return ended - wall


def _baseline(world: World, *, combined: bool, number: int) -> float:
    upload = world.upload(f"u{number:04}", size=CODE)
    wall = time()
    children = _start(world, None, 1, combined=combined)
    world.announce_all(lambda: children[0].url, [upload])
    world.settle(60)
    ended = _ended(world, upload)
    for child in children:
        child.kill()
    return ended - wall


def _start(
    world: World, point: str | None, nth: int, *, combined: bool, web: Child | None = None
) -> list[Child]:
    """Start the web, then the worker. Only the process that passes the point is armed."""
    armed: dict[str, Any] = {"point": point, "nth": nth} if point else {}
    if point == "mid-download":
        armed["constants"] = STREAM_EVERYTHING
    if combined:
        return [world.serve(**armed)]
    accepting = point in ACCEPTING
    web = web or world.serve("--no-worker", **(armed if accepting else {}))
    return [web, world.work(**({} if accepting else armed))]


def _prepare(world: World, name: str) -> None:
    if name == "mid-reconcile":
        world.sandbox.fault(operation="import", commit=True, drop=True)
    if name == "during drain":
        world.sandbox.fault(operation="import", trickle=400_000)


def _wait_for_kill(world: World, name: str, before: int, first: list[Child]) -> None:
    """Wait until the armed process is dead. For the drain, send SIGTERM first."""
    armed = first[0] if name in ACCEPTING else first[-1]
    if name == "during drain":
        wait_until(lambda: any(call.received > 1000 for call in world.sandbox.calls[before:]), 15)
        armed.signal(signal.SIGTERM)
    armed.wait(20)


def _accepted(world: World, upload: Upload) -> bool:
    return upload.name in world.record.accepted


def _ended(world: World, upload: Upload) -> float:
    """Return when the import of the upload and the last message about it had finished."""
    query = f"select max(finished) from deliveries where key = '{upload.version.key}'"
    return float(world.ledger.rows(query)[0][0]) / 1e6


def _migration(world: World, nth: int, number: int) -> float:
    """Kill the migration at the `nth` table (0: do not start it), then start three processes."""
    if nth:
        first = world.start("migrate", point="mid-migration", nth=nth)
        first.wait(20)
        assert world.marker.exists(), f"mid-migration ({nth}) was not passed: {world.log()}"
    started = monotonic()
    web = world.serve("--no-worker", ready=False)
    for _ in range(2):
        world.work()
    upload = world.upload(f"f{number:04}")
    world.announce_all(lambda: web.url, [upload])
    world.settle(60)
    return monotonic() - started


def sweep(run: Run, name: str, times: int) -> None:
    restart_times = RestartTimes()
    try:
        kill_at(run, name, times, restart_times)
    except AssertionError as error:
        run.broken.append(str(error))
    run.runs = times
    resumed, baseline = sorted(restart_times.resumed), sorted(restart_times.baseline)
    run.must(len(resumed) == times, f"{times - len(resumed)} deliveries did not finish")
    if not resumed:
        return
    median = resumed[len(resumed) // 2]
    run.figures |= {"resumed within s": round(resumed[-1], 2), "median s": round(median, 2)}
    limit = RESUME_LIMIT * run.size(3, 1)  # CI shares the cores.
    if baseline:
        run.figures["without a kill s"] = round(baseline[len(baseline) // 2], 2)
    run.must(median <= limit, f"half of the restarts took {median:.1f} s or more")
    run.must(resumed[-1] <= TAKEOVER_LIMIT, f"a restart took {resumed[-1]:.1f} s")


def _sweeping(name: str) -> Callable[[Run], None]:
    return lambda run: sweep(run, name, run.size(5 if run.engine == SQLITE else 1, 50))


for _name in SWEPT:
    _engines = (SQLITE,) if _name == "mid-commit" else BOTH
    scenario(f"K1 {_name}", "kill -9 and restart", engines=_engines)(_sweeping(_name))
