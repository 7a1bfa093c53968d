"""Compares the latency of good deliveries with and without bad deliveries at the same time.

Both groups are measured at the same time or in turns, so that they see the same machine load. The
rule counts late deliveries, so that a short load peak does not decide.
"""

from __future__ import annotations

import re

from tests.torture.scenario import Run
from tests.torture.world import World


def latencies(world: World, mark: str) -> list[float]:
    """Return seconds from notification to end of each good delivery with that mark, sorted."""
    key = re.compile(rf"prod/{mark}\d+\.zip")
    return sorted(
        row.finished - row.created
        for row in world.ledger.deliveries("import")
        if row.finished and key.fullmatch(row.key)
    )


def compare_latencies(run: Run, baseline: list[float], disturbed: list[float]) -> None:
    """Allow 2 % of the disturbed deliveries above the p99 of the baseline plus 20 % and 50 ms.

    By definition, 1 % of the baseline is above that p99.
    """
    p99_baseline = baseline[int(len(baseline) * 0.99)]
    limit = 1.2 * p99_baseline + run.size(2000, 50) / 1000  # CI shares the cores.
    late = sum(took > limit for took in disturbed)
    p99 = [round(group[int(len(group) * 0.99)], 3) for group in (baseline, disturbed)]
    run.figures |= {"good p99 s without, beside": p99, "late": f"{late} of {len(disturbed)}"}
    run.must(
        late <= max(0.02 * len(disturbed), 1), f"{late} good deliveries took over {limit:.2f} s"
    )
