"""All scenarios: importing a module enters its scenarios."""

from __future__ import annotations

from tests.torture import (
    answers,
    floods,
    hosts,
    kills,
    ledgers,
    monkeys,
    poison,
    power,
    sizes,
    storage,
    traffic,
    unreachable,
)
from tests.torture.scenario import PLAN

MODULES = (
    *(kills, monkeys, hosts, traffic, floods, answers, unreachable),
    *(storage, ledgers, power, poison, sizes),
)

__all__ = ["MODULES", "PLAN"]
