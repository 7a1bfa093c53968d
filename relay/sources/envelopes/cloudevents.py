"""CloudEvents over HTTP in any form: Eventarc, Ceph, IBM and other senders."""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes import cloudevent_forms as forms
from relay.sources.envelopes.oidc import ENTRA, GOOGLE, JwtEnvelope
from relay.sources.envelopes.unwrap import Record


class CloudEvents(JwtEnvelope):
    """CloudEvents from a sender with a JWT of Google or Entra, or with the source's token."""

    name = "cloudevents"
    providers = (GOOGLE, ENTRA)

    def recognises(self, incoming: Incoming) -> bool:
        return forms.is_permission_request(incoming) or forms.is_cloudevent(incoming)

    def verify(self, incoming: Incoming) -> None:
        """Verify events. A request for permission is refused only for a wrong token in the URL."""
        if forms.is_permission_request(incoming):
            forms.has_url_token(self.settings, incoming)
        else:
            super().verify(incoming)

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        return forms.permission_reply(incoming)

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the events, each in the structured form."""
        yield from forms.read_events(incoming)
