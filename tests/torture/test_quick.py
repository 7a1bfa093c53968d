"""The short run of all scenarios, for CI. `make torture` is the long run."""

from __future__ import annotations

import os

import pytest

from tests import postgresql as postgres
from tests.torture.children import Zygote
from tests.torture.plan import PLAN
from tests.torture.scenario import POSTGRESQL, Entry, Run, run_scenario

SHORT_RUN = [
    pytest.param(entry, engine, id=f"{entry.id} {engine}")
    for entry in sorted(PLAN, key=lambda entry: entry.id.startswith("K1"))  # short scenarios last
    for engine in entry.in_ci
]


@pytest.mark.parametrize(("entry", "engine"), SHORT_RUN)
def test_no_upload_is_lost_duplicated_or_misreported(
    zygote: Zygote, request: pytest.FixtureRequest, entry: Entry, engine: str
) -> None:
    server = request.getfixturevalue("postgresql") if engine == POSTGRESQL else None
    result = run_scenario(entry, Run(zygote, engine, quick=True, postgresql=server))
    assert not result.broken, "\n".join(result.broken)
    assert result.figures, "the scenario measured nothing"


def test_every_point_of_k1_is_tested() -> None:
    points = {entry.id for entry in PLAN if entry.id.startswith("K1")}
    assert len(points) == 16
    assert os.environ.get("CI") is None or postgres.bindir() is not None
