"""Scenarios: an id, a summary, the engines, and a function that measures and checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from tests.postgresql import Server
from tests.torture.check import bugs, violations
from tests.torture.children import Zygote
from tests.torture.configuration import Options
from tests.torture.world import World

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
BOTH = (SQLITE, POSTGRESQL)


@dataclass
class Run:
    """A run of a scenario on an engine. Violations are added to `broken`.

    `mutant`: the rule of Relay that is switched off in all processes (mutants.py).
    """

    zygote: Zygote
    engine: str
    quick: bool = True
    postgresql: Server | None = None
    runs: int = 1
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    mutant: str = ""

    def size(self, quick: int, full: int) -> int:
        """Return the amount or the time limit for this run.

        The short run has smaller amounts, and longer limits because it shares the cores.
        """
        return quick if self.quick else full

    @contextmanager
    def world(self, *, on_disk: bool = False, url: str = "", **options: Any) -> Iterator[World]:
        """Create a world on this engine, and check the invariants at the end."""
        database = self.postgresql.create() if self.engine == POSTGRESQL and self.postgresql else ""
        url = url or database
        world = World(self.zygote, url, Options(**options), on_disk, mutant=self.mutant)
        with world:
            try:
                yield world
                self.check_world(world)
            finally:
                for child in world.children:
                    child.kill()
                if database and self.postgresql:
                    self.postgresql.drop(database)

    def check_world(self, world: World) -> None:
        """Add every violated invariant, and the bugs found in the logs."""
        world.wait_for_sandbox()
        self.broken += violations(world) + [f"bug: {line}" for line in bugs(world)[:3]]

    def must(self, holds: bool, violation: str) -> None:
        """Add the violation unless the condition holds."""
        if not holds:
            self.broken.append(violation)


Scenario = Callable[[Run], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """A scenario in the plan.

    `in_ci`: the engines of the short run. `alone`: it measures speed or memory, so that no other
    scenario may run at the same time.
    """

    id: str
    what: str
    act: Scenario
    engines: tuple[str, ...]
    in_ci: tuple[str, ...]
    alone: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the table."""

    id: str
    what: str
    engine: str
    runs: int
    figures: dict[str, Any]
    broken: list[str]
    seconds: float
    ended: datetime


PLAN: list[Entry] = []


def scenario(
    id_: str,
    what: str,
    *,
    engines: tuple[str, ...] = BOTH,
    in_ci: tuple[str, ...] | None = None,
    alone: bool = False,
) -> Callable[[Scenario], Scenario]:
    """Register a function. The short run uses the engines `in_ci`, by default all of them."""

    def register(act: Scenario) -> Scenario:
        PLAN.append(Entry(id_, what, act, engines, engines if in_ci is None else in_ci, alone))
        return act

    return register


def run_scenario(entry: Entry, run: Run) -> Result:
    """Run a scenario. An exception becomes a violation in the result."""
    started = monotonic()
    try:
        entry.act(run)
    except Exception as error:  # noqa: BLE001 - a scenario that raises has failed
        run.broken.append(f"{type(error).__name__}: {str(error)[:2000]}")
    seconds = round(monotonic() - started, 1)
    measured = run.runs, run.figures, run.broken
    return Result(entry.id, entry.what, run.engine, *measured, seconds, datetime.now(UTC))
