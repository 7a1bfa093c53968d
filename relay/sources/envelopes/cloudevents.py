"""CloudEvents over HTTP, in any of its forms: Eventarc, Ceph, IBM, and whoever else speaks it."""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes import cloudevent_forms as forms
from relay.sources.envelopes.oidc import ENTRA, GOOGLE, JwtEnvelope
from relay.sources.envelopes.unwrap import Record


class CloudEvents(JwtEnvelope):
    """Events from a sender with a token of Google's or Entra's, or with the source's own."""

    name = "cloudevents"
    providers = (GOOGLE, ENTRA)

    def recognises(self, incoming: Incoming) -> bool:
        return forms.asks(incoming) or forms.looks(incoming)

    def verify(self, incoming: Incoming) -> None:
        """Anybody may ask whether they may send, unless the address holds a wrong token."""
        if forms.asks(incoming):
            forms.knows_token(self.settings, incoming)
        else:
            super().verify(incoming)

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        return forms.consent(incoming)

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The events, each in the structured form."""
        yield from forms.read(incoming)
