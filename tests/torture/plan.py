"""All scenarios: importing a module enters its scenarios.

The short sweep (`make test`, `python -m tests.torture quick`) has each of them but M3, which is
about hours: in small, on SQLite; on PostgreSQL those that are about the ledger, and K3 and F1,
which are about PostgreSQL. The long run has all on both.
"""

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
