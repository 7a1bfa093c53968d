"""The list of all scenarios. Importing a module registers the scenarios in it.

The short run (`make test`, `python -m tests.torture quick`) has a small version of every scenario
except M3, which needs hours, on every engine. K1 kills five times at each point on SQLite and once
on PostgreSQL. S1, S4, S5 and K1 mid-commit test files, so they run on SQLite only. K3, F1 and F3
test a server, so they run on PostgreSQL only. In CI, S3 and T1 run on a single engine; the reason
is a comment there. test_mutants.py runs K5 and F2 with a rule of Relay switched off.
"""

from __future__ import annotations

from tests.torture import (
    answers,
    floods,
    hosts,
    kills,
    ledgers,
    monkeys,
    overtaken,
    poison,
    power,
    repeats,
    rolling,
    sizes,
    storage,
    traffic,
    unreachable,
)
from tests.torture.scenario import PLAN

MODULES = (
    *(kills, repeats, monkeys, hosts, overtaken, traffic, floods, answers, unreachable),
    *(storage, ledgers, power, poison, sizes, rolling),
)

__all__ = ["MODULES", "PLAN"]
