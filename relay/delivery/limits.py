"""What is configured for each lane: how many at once, and how many in a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from relay.config.load import Settings
from relay.config.units import RateLimit
from relay.model import Kind

Lane = tuple[Kind, str]


def limits(settings: Settings) -> Mapping[Lane, int]:
    """How many deliveries to a destination may run at once."""
    return {(Kind.IMPORT, name): target.concurrency for name, target in settings.targets.items()}


def rates(settings: Settings) -> Mapping[Lane, RateLimit]:
    """What targets and channels may get in a time, where they say."""
    groups = ((Kind.IMPORT, settings.targets), (Kind.MESSAGE, settings.channels))
    lanes = (((kind, name), one) for kind, group in groups for name, one in group.items())
    return {lane: rate for lane, one in lanes if (rate := getattr(one, "rate", None))}
