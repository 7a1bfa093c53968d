"""Claims deliveries for a worker, within the limits and rates of the destinations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from time import monotonic

from relay.config.load import Settings
from relay.config.units import RateLimit
from relay.delivery.lease_clock import lease_clock
from relay.delivery.leases import Leases
from relay.ledger import Configured
from relay.ledger.queue import DeliveryQueue
from relay.model import Claim, Kind

LOOK_FOR_OVERDUE = 60.0
"""Seconds between looks for deliveries whose time ended while they had to wait."""


class Claims:
    """The claims of a worker, in the name of `owner`. Used by a thread for each kind."""

    def __init__(
        self,
        settings: Settings,
        queue: DeliveryQueue,
        leases: Leases,
        owner: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._settings = settings.delivery
        self._queue = queue
        self._leases = leases
        self._owner = owner
        self._clock = clock
        self._next_look = dict.fromkeys(Kind, 0.0)
        self._configured = Configured.of(settings)

    def is_any_due(self, kind: Kind) -> bool:
        """Do a cheap read-only check, regardless of limits."""
        now = self._leases.now()
        return self._queue.is_any_due(kind, now, self._leases.cutoff(now))

    def claim(self, kind: Kind, only: str | None = None) -> Claim | None:
        """Claim the next due delivery of a kind (or the delivery `only`), if any."""
        lease, sent, now = self._settings.lease, lease_clock(), self._leases.now()
        claim = self._queue.claim(
            self._owner,
            lease,
            self._configured.limits,
            now,
            kind=kind,
            only=only,
            rates=self._configured.rates,
            lease_cutoff=self._leases.cutoff(now),
        )
        if claim is None:
            return None
        if self._clock() - now > lease / 2:  # a clock jump or a slow claim
            renewal = lease_clock()
            if self._queue.renew([claim], lease, self._clock()):
                sent = renewal
        return replace(claim, lease_end=sent + lease.total_seconds())

    def claim_overdue(self, kind: Kind) -> Claim | None:
        """Claim a delivery that has to wait until its time is over, only to end it."""
        lease, sent, now = self._settings.lease, lease_clock(), self._leases.now()
        began_before = now - self._settings.give_up_after
        claim = self._queue.claim_overdue(self._owner, lease, began_before, now, kind)
        return claim and replace(claim, lease_end=sent + lease.total_seconds())

    def look_for_overdue(self, kind: Kind) -> Claim | None:
        """Claim an overdue delivery; look once a minute, as long as there is none."""
        if monotonic() < self._next_look[kind] or not self._leases.are_settled():
            return None
        claim = self.claim_overdue(kind)
        if claim is None:
            self._next_look[kind] = monotonic() + LOOK_FOR_OVERDUE
        return claim

    def undo(self, claim: Claim) -> bool:
        """Give back a delivery that was not started. Returns False if the claim was lost."""
        return self._queue.undo(claim, self.rate(claim))

    def rate(self, claim: Claim) -> RateLimit | None:
        """Return the rate of the destination."""
        return self._configured.rates.get((claim.delivery.kind, claim.delivery.destination))
