"""Each rule against false outcomes is needed: without it, a row fails."""

from __future__ import annotations

import pytest

from tests.torture.children import Zygote
from tests.torture.mutants import MUTANTS
from tests.torture.plan import PLAN
from tests.torture.scenario import SQLITE, Run, run_scenario


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails_its_row(zygote: Zygote, name: str) -> None:
    mutant = MUTANTS[name]
    entry = next(entry for entry in PLAN if entry.id == mutant.row)
    result = run_scenario(entry, Run(zygote, SQLITE, quick=True, mutant=name))
    assert any(mutant.says in violation for violation in result.broken), result.broken
