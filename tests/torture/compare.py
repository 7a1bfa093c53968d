"""Whether good deliveries suffer from bad ones beside them: by count, against some without any.

Both are measured at the same time, or in turns, so that both meet the same machine; and a moment in
which others want its cores makes a few late, which decides nothing.
"""

from __future__ import annotations

import re

from tests.torture.scenario import Run
from tests.torture.world import World


def seconds(world: World, mark: str) -> list[float]:
    """From its notification to its end, of each good one with that mark, the shortest first."""
    named = re.compile(rf"prod/{mark}\d+\.zip")
    return sorted(
        one.finished - one.created
        for one in world.ledger.deliveries("import")
        if one.finished and named.fullmatch(one.key)
    )


def compare(run: Run, without: list[float], beside: list[float]) -> None:
    """At most two in a hundred over the p99 of those without (+20 %, + 50 ms): one in a hundred of
    these is over it too."""
    usual = without[int(len(without) * 0.99)]
    limit = 1.2 * usual + run.size(2000, 50) / 1000  # CI's cores do other things beside this
    late = sum(took > limit for took in beside)
    p99 = [round(one[int(len(one) * 0.99)], 3) for one in (without, beside)]
    run.figures |= {"good p99 s without, beside": p99, "late": f"{late} of {len(beside)}"}
    run.must(late <= max(0.02 * len(beside), 1), f"{late} good ones took over {limit:.2f} s")
