"""K1: kill -9 at each of sixteen named points, then a restart: nothing is lost or doubled."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any

from tests.torture.children import Child
from tests.torture.points import POINTS
from tests.torture.record import Upload
from tests.torture.scenario import BOTH, SQLITE, Run, scenario
from tests.torture.world import BY_RANGES, World, until

ACCEPTING = ("accept: before commit", "accept: after commit")
MOST = {
    "mid-download": 6,
    "mid-upload": 3,
    "mid-migration": 18,
    "mid-commit": 60,
    "during drain": 2,
}
"""How often a point is passed in one run at the least: any of them may be the last."""

CODE = 1_200_000
"""Bytes: four chunks on their way."""

AT_ONCE = 2.0
"""Seconds from a restart to the end of the delivery that was cut off, on cores of its own."""

TAKEN_OVER = 35.0
"""Seconds that it may last at the most, whatever else the cores do: until the lease has ended."""

BESIDE = 10
"""Of so many starts one has nothing to resume: what the machine gives at that time."""


@dataclass
class Figures:
    """Seconds from a start to the end of an import and its message: after a kill, and without."""

    resumed: list[float] = field(default_factory=list)
    undisturbed: list[float] = field(default_factory=list)


def kill_at(run: Run, name: str, times: int, figures: Figures) -> None:
    """Kills one process after the other at that point, in one world."""
    chance = random.Random(name)
    if name == "mid-migration":
        for number in range(times):
            with run.world() as world:
                figures.resumed.append(_migration(world, chance.randint(1, MOST[name]), number))
            if not run.quick and number % BESIDE == 0:
                with run.world() as world:
                    figures.undisturbed.append(_migration(world, 0, number))
        return
    with run.world(lease="30s", read_timeout="5s") as world:
        for number in range(times):
            nth = chance.randint(1, MOST.get(name, 1))
            whole = bool(number % 2)
            figures.resumed.append(_kill(world, name, nth, whole=whole, number=number))
            if not run.quick and number % BESIDE == 0:
                figures.undisturbed.append(_undisturbed(world, whole=whole, number=number))


def _kill(world: World, name: str, nth: int, *, whole: bool, number: int) -> float:
    """One kill and its restart. `whole`: web and worker in one process, else apart."""
    world.marker.unlink(missing_ok=True)
    upload = world.upload(f"f{number:04}", size=CODE)
    _prepare(world, name)
    before = len(world.sandbox.calls)
    first = _start(world, name, nth, whole=whole)
    world.announce(first[0].url, upload)
    _die(world, name, before, first)
    assert world.marker.exists(), f"{name} ({nth}) was not passed: {world.log()}"
    for child in first:
        if child.alive and (whole or name in ACCEPTING):
            child.kill()
    world.sandbox.faults.clear()
    wall = time()
    restarted = _start(world, None, 1, whole=whole, web=first[0] if first[0].alive else None)
    world.tell(lambda: restarted[0].url, [] if _accepted(world, upload) else [upload])
    world.settle(60)
    ended = _ended(world, upload)
    for child in {*first, *restarted}:
        child.kill()
    return ended - wall


def _undisturbed(world: World, *, whole: bool, number: int) -> float:
    upload = world.upload(f"u{number:04}", size=CODE)
    wall = time()
    children = _start(world, None, 1, whole=whole)
    world.tell(lambda: children[0].url, [upload])
    world.settle(60)
    ended = _ended(world, upload)
    for child in children:
        child.kill()
    return ended - wall


def _start(
    world: World, point: str | None, nth: int, *, whole: bool, web: Child | None = None
) -> list[Child]:
    """The web first. Only the process in which the point lies is armed."""
    armed: dict[str, Any] = {"point": point, "nth": nth} if point else {}
    if point == "mid-download":
        armed["constants"] = BY_RANGES
    if whole:
        return [world.serve(**armed)]
    accepting = point in ACCEPTING
    web = web or world.serve("--no-worker", **(armed if accepting else {}))
    return [web, world.work(**({} if accepting else armed))]


def _prepare(world: World, name: str) -> None:
    if name == "mid-reconcile":
        world.sandbox.fault(operation="import", commit=True, drop=True)
    if name == "during drain":
        world.sandbox.fault(operation="import", trickle=400_000)


def _die(world: World, name: str, before: int, first: list[Child]) -> None:
    """Waits until the armed process is dead; for the drain it has to be asked to end."""
    armed = first[0] if name in ACCEPTING else first[-1]
    if name == "during drain":
        until(lambda: any(call.received > 1000 for call in world.sandbox.calls[before:]), 15)
        armed.signal(signal.SIGTERM)
    armed.wait(20)


def _accepted(world: World, upload: Upload) -> bool:
    return upload.name in world.record.accepted


def _ended(world: World, upload: Upload) -> float:
    """When its import, and the last message that tells of it, had ended."""
    query = f"select max(finished) from deliveries where key = '{upload.version.key}'"
    return float(world.ledger.rows(query)[0][0]) / 1e6


def _migration(world: World, nth: int, number: int) -> float:
    """Killed while it makes the tables (0: nothing has begun); then three start at once."""
    if nth:
        first = world.start("migrate", point="mid-migration", nth=nth)
        first.wait(20)
        assert world.marker.exists(), f"mid-migration ({nth}) was not passed: {world.log()}"
    began = monotonic()
    web = world.serve("--no-worker", ready=False)
    for _ in range(2):
        world.work()
    upload = world.upload(f"f{number:04}")
    world.tell(lambda: web.url, [upload])
    world.settle(60)
    return monotonic() - began


def sweep(run: Run, name: str, times: int) -> None:
    figures = Figures()
    try:
        kill_at(run, name, times, figures)
    except AssertionError as error:
        run.broken.append(str(error))
    run.runs = times
    resumed, undisturbed = sorted(figures.resumed), sorted(figures.undisturbed)
    run.must(len(resumed) == times, f"{times - len(resumed)} kills did not come to an end")
    if not resumed:
        return
    median = resumed[len(resumed) // 2]
    run.figures |= {"resumed within s": round(resumed[-1], 2), "median s": round(median, 2)}
    limit = AT_ONCE * run.size(3, 1)  # CI's cores do other things beside this
    if undisturbed:
        usual = undisturbed[len(undisturbed) // 2]
        run.figures["without a kill s"] = round(usual, 2)
    run.must(median <= limit, f"half of the restarts took {median:.1f} s and more")
    run.must(resumed[-1] <= TAKEN_OVER, f"a restart took {resumed[-1]:.1f} s")


def _sweeping(name: str) -> Callable[[Run], None]:
    return lambda run: sweep(run, name, run.size(5 if run.engine == SQLITE else 1, 50))


for _name in POINTS:
    _engines = (SQLITE,) if _name == "mid-commit" else BOTH
    scenario(f"K1 {_name}", "kill -9 and restart", engines=_engines)(_sweeping(_name))
