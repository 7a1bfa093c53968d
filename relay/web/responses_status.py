"""What the API answers about sources and targets."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, Field

from relay.model import Json
from relay.web.responses import ErrorShape, Given


class SourceShape(Given):
    """How a source is doing. `silent_since`: when the first object came that nobody announced."""

    name: str
    kind: str
    last_notification: AwareDatetime | None = None
    last_event: AwareDatetime | None = None
    lag_seconds: float | None = None
    errors: list[Any] = Field(default_factory=list)
    silent_since: AwareDatetime | None = None
    silent: ErrorShape | None = None

    @classmethod
    def of(cls, told: Json, language: str) -> SourceShape:
        return cls(**{**told, "silent": ErrorShape.of(told.get("silent"), language)})


class TargetShape(Given):
    """How a target is doing: open, or why and since (or until) when its deliveries wait."""

    name: str
    kind: str
    state: str
    since: AwareDatetime | None
    until: AwareDatetime | None


class TargetList(Given):
    """Every configured target."""

    items: list[TargetShape]


class ScanShape(Given):
    """What one run of a scan came upon; `first`: what was there was marked as seen, not enqueued.

    `resumed`: it went on where the last run was cut off; `finished`: it came to the end.
    """

    listed: int
    found: int
    first: bool
    resumed: bool = False
    finished: bool = True


class SourceList(Given):
    """Every configured source."""

    items: list[SourceShape]
