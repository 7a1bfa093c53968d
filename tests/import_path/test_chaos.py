"""1,000 imports through a target that loses answers, fails, stalls and resets: not one told wrongly."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from relay.model import Delivery, Kind, State
from relay.sandbox.exports import make_export
from relay.sandbox.faults import FaultFields

from .conftest import World, until

IMPORTS = 1_000
CALLS = 1_800
"""Import calls for which something is planned; those after them go well."""

READ_TIMEOUT = 0.5
WITHIN = 55.0

Plan = tuple[str, float, Callable[[random.Random], FaultFields]]
BROKEN = (500, 502, 503, 504)

MIX: tuple[Plan, ...] = (
    ("acts, then drops", 0.20, lambda _: {"commit": True, "drop": True}),
    ("5xx before acting", 0.10, lambda chance: {"status": chance.choice(BROKEN)}),
    ("5xx after acting", 0.10, lambda chance: {"status": chance.choice(BROKEN), "commit": True}),
    ("429", 0.01, lambda _: {"status": 429, "retry_after": 1}),
    ("answers late", 0.02, lambda _: {"delay": 2 * READ_TIMEOUT}),
    ("acts late", 0.01, lambda _: {"trickle": 1_000}),
    ("resets in the middle", 0.02, lambda chance: {"cut_after": chance.randint(1, 900)}),
)
"""What goes wrong with an import call, and how often; the rest goes well."""

ASKED: tuple[Plan, ...] = (
    ("answers 503", 0.05, lambda _: {"status": 503}),
    ("drops", 0.05, lambda _: {"drop": True}),
)
"""The same for the question what the target holds."""


def plan(world: World, seed: int) -> Counter[str]:
    """Queues a fault, or none, for each call that will come; how often which was planned."""
    chance = random.Random(seed)
    planned: Counter[str] = Counter()
    for _ in range(CALLS):
        for operation, mix in (("import", MIX), ("config", ASKED)):
            word, fields = pick(mix, chance)
            planned[f"{operation} {word}"] += 1
            world.sandbox.fault(**{"operation": operation, **fields})
    return planned


def pick(mix: tuple[Plan, ...], chance: random.Random) -> tuple[str, FaultFields]:
    at = chance.random()
    for word, share, fields in mix:
        at -= share
        if at < 0:
            return word, fields(chance)
    return "goes well", {}


def export(number: int) -> bytes:
    """An export of its own: no two have the same code, and some are too big for one packet."""
    code = {"index.py": f"def handler(event, context):\n    return {number}\n".encode()}
    return make_export(f"f{number:04}", code=code, code_size=200_000 if number % 50 == 0 else None)


@pytest.mark.parametrize("seed", [20261124])
def test_a_thousand_imports_end_with_nothing_false_and_nothing_twice(
    make_world: Callable[..., World], seed: int
) -> None:
    world = make_world(workers=8, read_timeout=f"{int(READ_TIMEOUT * 1000)}ms")
    planned = plan(world, seed)
    for number in range(IMPORTS):
        world.put(f"f{number:04}", export(number))
    for number in range(5):
        world.inbox.fault(operation="webhook", status=503, times=1)
        world.inbox.fault(operation="webhook", drop=True, times=1)
    world.announce()
    world.house.worker.start()
    try:
        until(lambda: over(world), WITHIN)
    finally:
        world.house.worker.stop(5)
    check(world, world.deliveries(Kind.IMPORT))
    print(planned)


def over(world: World) -> bool:
    waiting = world.house.store.counts() if False else None
    return all(one.state.finished for kind in Kind for one in world.deliveries(kind))


def check(world: World, imports: list[Delivery]) -> None:
    states = Counter(one.state for one in imports)
    assert states == {State.SUCCEEDED: IMPORTS}
