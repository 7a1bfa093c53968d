"""Huawei Cloud EventGrid's deliveries to a webhook: CloudEvents, unsigned.

Wire format: EventGrid user guide, "Event structure" and "Webhook targets"; an event of OBS captured
in 2026. EventGrid has no signature, and its webhook targets have no headers of their own: the token
stands in the address, or in a header that an APIG target adds.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes import cloudevent_forms as forms
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import Record

_SOURCE = "HC."
"""How the names of Huawei Cloud's own event sources begin."""


class EventGrid(TokenEnvelope):
    """Events from a sender that knows the token. What it sends but an event is not documented, so
    that all forms of CloudEvents are taken, and the question whether it may send is answered."""

    name = "eventgrid"

    def recognises(self, incoming: Incoming) -> bool:
        """Where others may send CloudEvents too, only what comes from Huawei Cloud."""
        if "cloudevents" in self.settings.accept or "azure" in self.settings.accept:
            return _is_of_huawei(incoming)
        return forms.looks(incoming) or forms.asks(incoming)

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        return forms.consent(incoming)

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The events, each in the structured form."""
        return forms.read(incoming)


def _is_of_huawei(incoming: Incoming) -> bool:
    if incoming.headers.get("ce-source", "").startswith(_SOURCE):
        return True
    return f'"{_SOURCE}'.encode() in incoming.body and any(
        isinstance(one, dict) and str(one.get("source")).startswith(_SOURCE)
        for one in forms.shape(incoming)
    )
