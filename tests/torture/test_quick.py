"""The short sweep: `make torture` in small, for CI. The long run is `make torture` by hand."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import postgresql as postgres
from tests.torture.children import Zygote
from tests.torture.plan import PLAN
from tests.torture.scenario import POSTGRESQL, Entry, Run, carried_out

SWEEP = [
    pytest.param(entry, engine, id=f"{entry.id} {engine}")
    for entry in sorted(PLAN, key=lambda one: one.id.startswith("K1"))  # the short ones last
    for engine in entry.in_ci
]


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as running:
        yield running


@pytest.mark.parametrize(("entry", "engine"), SWEEP)
def test_nothing_lost_nothing_twice_nothing_false(
    zygote: Zygote, request: pytest.FixtureRequest, entry: Entry, engine: str
) -> None:
    server = request.getfixturevalue("postgresql") if engine == POSTGRESQL else None
    result = carried_out(entry, Run(zygote, engine, quick=True, postgresql=server))
    assert not result.broken, "\n".join(result.broken)
    assert result.figures, "a scenario that measured nothing proves nothing"


def test_every_point_of_k1_is_swept() -> None:
    points = {entry.id for entry in PLAN if entry.id.startswith("K1")}
    assert len(points) == 16
    assert os.environ.get("CI") is None or postgres.bindir() is not None
