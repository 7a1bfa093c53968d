"""K1: kill -9 at each of sixteen named points, then a restart: nothing is lost or doubled."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time

from tests.torture.children import Child
from tests.torture.points import POINTS
from tests.torture.record import Upload
from tests.torture.scenario import SQLITE, Run, scenario
from tests.torture.world import World, until

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
"""Seconds from a restart to the end of the delivery that was cut off."""


@dataclass
class Figures:
    """Seconds from the restart's beginning to the end of the import and its message."""

    resumed: list[float]


def kill_at(run: Run, name: str, times: int) -> Figures:
    """Kills one process after the other at that point, in one world."""
    figures = Figures([])
    chance = random.Random(name)
    if name == "mid-migration":
        for number in range(times):
            with run.world() as world:
                figures.resumed.append(_migration(world, chance.randint(1, MOST[name]), number))
        return figures
    with run.world(lease="30s", read_timeout="5s") as world:
        for number in range(times):
            nth = chance.randint(1, MOST.get(name, 1))
            whole = bool(number % 2)
            figures.resumed.append(_kill(world, name, nth, whole=whole, number=number))
    return figures


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
    world.settle(30, imports=number + 1)
    ended = _ended(world, upload)
    for child in {*first, *restarted}:
        child.kill()
    return ended - wall


def _start(
    world: World, point: str | None, nth: int, *, whole: bool, web: Child | None = None
) -> list[Child]:
    """The web first. Only the process in which the point lies is armed."""
    armed = {"point": point, "nth": nth} if point else {}
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
    """Killed while it makes the tables; then three start at once."""
    first = world.start("migrate", point="mid-migration", nth=nth)
    first.wait(20)
    assert world.marker.exists(), f"mid-migration ({nth}) was not passed: {world.log()}"
    began = monotonic()
    web = world.serve("--no-worker", ready=False)
    for _ in range(2):
        world.work()
    upload = world.upload(f"f{number:04}")
    world.tell(lambda: web.url, [upload])
    world.settle(30)
    return monotonic() - began


def sweep(run: Run, names: tuple[str, ...], times: int) -> None:
    resumed: list[float] = []
    for name in names:
        before = len(run.broken)
        try:
            resumed += kill_at(run, name, times).resumed
        except AssertionError as error:
            run.broken.append(str(error))
        run.broken[before:] = [f"{name}: {one}" for one in run.broken[before:]]
    run.runs = len(names) * times
    run.figures |= {"points": len(names), "resumed within s": round(max(resumed, default=-1), 2)}
    run.figures |= {"median s": round(sorted(resumed)[len(resumed) // 2], 2) if resumed else "-"}
    run.must(len(resumed) == run.runs, f"{run.runs - len(resumed)} kills did not come to an end")
    limit = AT_ONCE if not run.quick else 3 * AT_ONCE  # CI's cores do other tests beside this
    run.must(max(resumed, default=0) <= limit, f"a restart took longer than {limit} s")


def _sweeping(name: str) -> Callable[[Run], None]:
    return lambda run: sweep(run, (name,), run.size(5 if run.engine == SQLITE else 1, 50))


for _name in POINTS:
    _engines = (SQLITE,) if _name == "mid-commit" else (SQLITE, "PostgreSQL")
    scenario(f"K1 {_name}", "kill -9 and restart", engines=_engines, in_ci=_engines)(
        _sweeping(_name)
    )
