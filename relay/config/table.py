"""The base class of every table of relay.toml."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of relay.toml: unknown keys are errors, values never appear in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def advise(self) -> Iterator[tuple[str, str]]:
        """Yield (warning, hint) pairs for `relay check`; the hint may be ""."""
        return iter(())
