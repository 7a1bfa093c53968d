"""Oracle Cloud Notifications' deliveries to an HTTPS endpoint.

Wire format: OCI Notifications, "Custom HTTPS subscription"; OCI Events, "Contents of an event
message". How they are signed is not documented: the token, as Basic in the address, proves the
sender.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes import pinned_urls as pinned
from relay.sources.envelopes.certificates import unverified
from relay.sources.envelopes.cloudevent_forms import shape
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import Record, decode, records

DOMAIN = ".oraclecloud.com"

_PREFIX = "x-oci-ns-"
_TOPIC = f"{_PREFIX}topicocid"
_TYPE = f"{_PREFIX}messagetype"
_CONFIRMATION = f"{_PREFIX}confirmationurl"


class Oci(TokenEnvelope):
    """Messages of a topic whose subscription has the token in its address."""

    name = "oci"

    def recognises(self, incoming: Incoming) -> bool:
        if any(name.startswith(_PREFIX) for name in incoming.headers):
            return True
        return b'"cloudEventsVersion"' in incoming.body and any(
            isinstance(one, dict) and str(one.get("eventType")).startswith("com.oraclecloud.")
            for one in shape(incoming)
        )

    def verify(self, incoming: Incoming) -> None:
        """The token; and that a subscription is confirmed nowhere but at Oracle's."""
        super().verify(incoming)
        if _is_handshake(incoming):
            _confirmation(incoming)

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """200, once the address that confirms the subscription was visited."""
        if not _is_handshake(incoming):
            return None
        topic = incoming.headers.get(_TOPIC, "")
        pinned.confirm(self.fetch, _confirmation(incoming), topic)
        return HandshakeReply()

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The event, in the form of CloudEvents 0.1."""
        return records(decode(incoming.body))


def _is_handshake(incoming: Incoming) -> bool:
    """Whether it asks to be confirmed, and is not what subscribers are told once they are."""
    told = incoming.headers.get(_TYPE, "").lower() == "notification"
    return incoming.method == "POST" and _CONFIRMATION in incoming.headers and not told


def _confirmation(incoming: Incoming) -> str:
    address = pinned.read(url := incoming.headers[_CONFIRMATION])
    if not address or not address.host.endswith(DOMAIN):
        raise unverified(
            "wants to be confirmed at an address that is not Oracle's own",
            f"It should be of https, at a host that ends in {DOMAIN}.",
        )
    return url
