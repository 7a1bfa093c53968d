"""Asks targets again about deliveries that failed with `outcome.unknown`, and posts the result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from relay.channels.messages import import_messages
from relay.config.load import Settings
from relay.delivery.deliver import Deliverer
from relay.ledger import Ledger
from relay.model import Claim, Delivery

log = logging.getLogger(__name__)

ASK_EVERY = timedelta(minutes=10)
"""Interval of the questions about a delivery, over all processes."""


class Corrections:
    """Corrects the outcome of deliveries once it is known."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        deliverer: Deliverer,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._deliverer = deliverer
        self._clock = clock

    def run(self) -> int:
        """Ask about all deliveries whose question is due. Return the number of corrections."""
        corrected = 0
        while delivery_id := self._ledger.intents.take_question(self._clock(), ASK_EVERY):
            delivery = self._ledger.history.delivery(delivery_id)
            corrected += delivery is not None and self._correct(delivery)
        return corrected

    def _correct(self, delivery: Delivery) -> bool:
        outcome = self._deliverer.find_out(delivery)
        if outcome is None:
            return False
        now, history = self._clock(), self._ledger.history
        event = history.event(delivery.event_id) if delivery.event_id else None
        claim = Claim(delivery, event, "", delivery.fence, delivery.attempts)
        messages = import_messages(self._settings, claim, outcome, now)
        if not self._ledger.outcomes.correct(delivery, outcome, now, messages):
            return False
        log.warning("outcome corrected", extra={"delivery": delivery.id})
        return True
