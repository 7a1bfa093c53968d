"""What a scenario is: a name, a sentence, engines, and a function that returns figures."""

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
    """One run of a scenario on one engine. What goes wrong is added to `broken`."""

    zygote: Zygote
    engine: str
    quick: bool = True
    postgresql: Server | None = None
    runs: int = 1
    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def size(self, quick: int, full: int) -> int:
        """Of how much there is, and of how long something may take: the short sweep has less of
        the one and more of the other, for it shares its cores."""
        return quick if self.quick else full

    @contextmanager
    def world(self, *, on_disk: bool = False, url: str = "", **options: Any) -> Iterator[World]:
        """A world on this engine, judged when the scenario is done with it."""
        made = self.postgresql.create() if self.engine == POSTGRESQL and self.postgresql else ""
        url = url or made
        with World(self.zygote, url, Options(**options), on_disk=on_disk) as world:
            try:
                yield world
                self.judge(world)
            finally:
                for child in world.children:
                    child.kill()
                if made and self.postgresql:
                    self.postgresql.drop(made)

    def judge(self, world: World) -> None:
        """Adds every invariant that does not hold, and every bug in the logs."""
        world.quiet()
        self.broken += violations(world) + [f"bug: {one}" for one in bugs(world)[:3]]

    def must(self, holds: bool, words: str) -> None:
        """A pass rule of the scenario itself."""
        if not holds:
            self.broken.append(words)


Scenario = Callable[[Run], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the plan. `in_ci`: the engines of the short sweep; `alone`: nothing else may run
    beside it when its figures are to mean something."""

    id: str
    what: str
    act: Scenario
    engines: tuple[str, ...]
    in_ci: tuple[str, ...]
    alone: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table."""

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
    """Enters a function into the plan. The short sweep has it on all its engines, or `in_ci`."""

    def enter(act: Scenario) -> Scenario:
        PLAN.append(Entry(id_, what, act, engines, engines if in_ci is None else in_ci, alone))
        return act

    return enter


def carried_out(entry: Entry, run: Run) -> Result:
    """Runs it; what it raises is a line of the table too."""
    began = monotonic()
    try:
        entry.act(run)
    except Exception as error:  # noqa: BLE001 - a scenario that breaks has failed
        run.broken.append(f"{type(error).__name__}: {str(error)[:2000]}")
    seconds = round(monotonic() - began, 1)
    found = run.runs, run.figures, run.broken
    return Result(entry.id, entry.what, run.engine, *found, seconds, datetime.now(UTC))
