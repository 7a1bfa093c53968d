"""Table: what every table of relay.toml is."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of relay.toml: unknown keys are errors, values never appear in errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def advise(self) -> Iterator[tuple[str, str]]:
        """What is allowed and may yet surprise, for `relay check`: words, and a hint or ""."""
        return iter(())
