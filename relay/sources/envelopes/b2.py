"""Backblaze B2's event notifications, signed with the secret of their rule.

Wire format: Backblaze, "Event Notifications Reference Guide" and "Verify Event Notification
Signatures"; checked against the official Java SDK's test.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import Envelope
from relay.sources.envelopes.certificates import unverified
from relay.sources.envelopes.unwrap import Record, decode, records

HEADER = "x-bz-event-notification-signature"

_VERSION = "v1="


class B2(Envelope):
    """Batches of events, signed as they stand. Nothing in them tells when they were sent: one that
    is replayed announces what is known already."""

    name = "b2"

    def missing_setting(self) -> str | None:
        return None if self.settings.secret else "secret"

    def recognises(self, incoming: Incoming) -> bool:
        """Its events are known even when they are not signed: a token is no way around that."""
        body = incoming.body
        if incoming.method != "POST":
            return False
        return HEADER in incoming.headers or (b'"eventType"' in body and b'"b2:' in body)

    def verify(self, incoming: Incoming) -> None:
        """Any one of several signatures does: a secret is replaced while events go on."""
        secret = self.settings.secret.get_secret_value() if self.settings.secret else ""
        digest = hmac.digest(secret.encode(), incoming.body, hashlib.sha256).hex().encode()
        every = [one.strip() for one in incoming.headers.get(HEADER, "").split(",")]
        known = [
            hmac.compare_digest(digest, one[len(_VERSION) :].lower().encode("latin-1", "replace"))
            for one in every
            if one.startswith(_VERSION)
        ]
        if not known:
            raise unverified(
                "is not signed", "Give the rule a signing secret; the source has the same one."
            )
        if not secret or not any(known):
            raise unverified(
                "has a wrong signature", "Compare the source's secret with that of the rule."
            )

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Its events, one by one."""
        return records(decode(incoming.body))
