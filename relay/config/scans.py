"""The keys of a source whose objects can be listed."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from relay.config.settings import SourceSettings
from relay.config.units import Duration


class ScannedSettings(SourceSettings):
    """The schedule and the size of scans."""

    scan_every: Duration = Field(
        timedelta(0),
        description="how often to list the buckets for objects without an event; 0: never",
    )
    scan_limit: int = Field(
        100_000, ge=0, description="objects listed per run; the next run continues there; 0: all"
    )

    @model_validator(mode="after")
    def _scans_name_their_buckets(self) -> Self:
        if self.scan_every and not self.buckets:
            raise ValueError("scan_every needs buckets: name those that are to be listed")
        return self
