"""All scenarios: importing a module enters its scenarios.

The short sweep (`make test`, `python -m tests.torture quick`) has each of them but M3, which is
about hours: in small, on each of its engines. K1 kills five times at each point on SQLite, once on
PostgreSQL. One engine alone have: S1, S4, S5 and K1 mid-commit, which are about SQLite's files;
K3 and F1, which are about PostgreSQL's server; and, in CI only, S3 and T1 (why stands beside them).
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
