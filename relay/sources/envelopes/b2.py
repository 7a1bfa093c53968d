"""B2: Backblaze B2 event notifications, signed with the secret of their rule.

Wire format: Backblaze, "Event Notifications Reference Guide" and "Verify Event Notification
Signatures"; checked against the test of the official Java SDK.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import Envelope
from relay.sources.envelopes.certificates import unverified
from relay.sources.envelopes.unwrap import Record, decode_json, unwrap_records

HEADER = "x-bz-event-notification-signature"

_VERSION = "v1="


class B2(Envelope):
    """Batches of events with a signature over the body.

    The signature covers no time, so replays are not detected; a replayed event is already known.
    """

    name = "b2"

    def missing_setting(self) -> str | None:
        return None if self.settings.secret else "secret"

    def recognises(self, incoming: Incoming) -> bool:
        """Match unsigned B2 events too, so that a token cannot replace the signature."""
        body = incoming.body
        if incoming.method != "POST":
            return False
        return HEADER in incoming.headers or (b'"eventType"' in body and b'"b2:' in body)

    def verify(self, incoming: Incoming) -> None:
        """Accept any of several signatures: B2 sends two while a secret is being replaced."""
        secret = self.settings.secret.get_secret_value() if self.settings.secret else ""
        expected = hmac.digest(secret.encode(), incoming.body, hashlib.sha256).hex().encode()
        header = incoming.headers.get(HEADER, "")
        signatures = [
            signature.strip().removeprefix(_VERSION).lower().encode("latin-1", "replace")
            for signature in header.split(",")
            if signature.strip().startswith(_VERSION)
        ]
        if not signatures:
            raise unverified(
                "is not signed", "Set the signing secret of the B2 rule to the source's secret."
            )
        matches = [hmac.compare_digest(expected, signature) for signature in signatures]
        if not secret or not any(matches):
            raise unverified(
                "has a wrong signature", "Compare the source's secret with that of the rule."
            )

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the events."""
        return unwrap_records(decode_json(incoming.body))
