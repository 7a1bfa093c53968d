"""The objects that every view receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from relay.config.load import Settings
from relay.intake.intake import Intake
from relay.ledger import Ledger
from relay.web.auth import RequestGuard
from relay.web.operations import Operations


@dataclass(frozen=True, slots=True)
class WebContext:
    """The collaborators of the views: `operations` change things, `ledger` is for reading."""

    settings: Settings
    ledger: Ledger
    intake: Intake
    operations: Operations
    guard: RequestGuard
    clock: Callable[[], datetime]
