"""The keys of a source whose objects can be listed."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from relay.config.settings import SourceSettings
from relay.config.units import Duration


class ScannedSettings(SourceSettings):
    """How often the source's buckets are listed, and how much of them at once."""

    scan_every: Duration = Field(
        timedelta(0), description="how often to look for what nobody announced; 0: never"
    )
    scan_limit: int = Field(
        100_000, ge=0, description="objects looked at in one run, the next goes on there; 0: all"
    )

    @model_validator(mode="after")
    def _scans_name_their_buckets(self) -> Self:
        if self.scan_every and not self.buckets:
            raise ValueError("scan_every needs buckets: name those that are to be listed")
        return self
