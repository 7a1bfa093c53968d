"""The objects that every view receives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from relay.config.load import Settings
from relay.intake.intake import Intake
from relay.ledger import Configured, Ledger
from relay.ledger.values import ExplainedDelivery
from relay.model import Delivery
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

    @property
    def configured(self) -> Configured:
        return Configured.of(self.settings)

    def missing(self) -> list[str]:
        """Return the tables that the configuration lacks and that deliveries wait for."""
        return self.ledger.missing.paths(self.configured)

    def explain(self, found: Iterable[Delivery]) -> tuple[ExplainedDelivery, ...]:
        """Return the deliveries with the reasons why they wait."""
        return self.ledger.waits.explain(found, self.configured, self.clock())
