"""OCI: deliveries of Oracle Cloud Notifications to an HTTPS endpoint.

Wire format: OCI Notifications, "Custom HTTPS subscription"; OCI Events, "Contents of an event
message". Signatures are not documented; the sender shows the token as Basic, from the endpoint's
URL.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes.certificates import unverified
from relay.sources.envelopes.cloudevent_forms import list_items
from relay.sources.envelopes.pinned_urls import confirm_subscription, parse_url
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import Record, decode_json, unwrap_records

DOMAIN = ".oraclecloud.com"

_PREFIX = "x-oci-ns-"
_TOPIC = f"{_PREFIX}topicocid"
_TYPE = f"{_PREFIX}messagetype"
_CONFIRMATION = f"{_PREFIX}confirmationurl"


class Oci(TokenEnvelope):
    """Messages of a topic whose subscription has the token in the URL."""

    name = "oci"
    secret_fields = ("ConfirmationURL",)

    def recognises(self, incoming: Incoming) -> bool:
        if any(name.startswith(_PREFIX) for name in incoming.headers):
            return True
        return b'"cloudEventsVersion"' in incoming.body and any(
            isinstance(item, dict) and str(item.get("eventType")).startswith("com.oraclecloud.")
            for item in list_items(incoming)
        )

    def verify(self, incoming: Incoming) -> None:
        """Check the token, and that a confirmation URL leads to Oracle."""
        super().verify(incoming)
        if _is_handshake(incoming):
            _confirmation_url(incoming)

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """Return 200 after visiting the URL that confirms the subscription."""
        if not _is_handshake(incoming):
            return None
        topic = incoming.headers.get(_TOPIC, "")
        confirm_subscription(self.fetch, _confirmation_url(incoming), topic)
        return HandshakeReply()

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the event, in the form of CloudEvents 0.1."""
        return unwrap_records(decode_json(incoming.body))


def _is_handshake(incoming: Incoming) -> bool:
    """Whether the request asks for confirmation. Notifications can carry the same header."""
    is_notification = incoming.headers.get(_TYPE, "").lower() == "notification"
    has_url = _CONFIRMATION in incoming.headers
    return incoming.method == "POST" and has_url and not is_notification


def _confirmation_url(incoming: Incoming) -> str:
    parts = parse_url(url := incoming.headers[_CONFIRMATION])
    if not parts or not parts.host.endswith(DOMAIN):
        raise unverified(
            "asks for confirmation at a URL outside Oracle Cloud",
            f"It should use https and a host that ends in {DOMAIN}.",
        )
    return url
