"""EventGrid: CloudEvents from Huawei Cloud EventGrid, verified by the source's token.

Wire format: EventGrid user guide, "Event structure" and "Webhook targets"; an OBS event captured
in 2026. EventGrid does not sign, and webhook targets cannot add headers: the token is part of the
URL, or of a header that an APIG target adds.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelope import HandshakeReply
from relay.sources.envelopes import cloudevent_forms as forms
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import Record

_SOURCE = "HC."
"""The prefix of Huawei Cloud's own event sources."""


class EventGrid(TokenEnvelope):
    """Events from a sender with the token.

    The form of the events is not documented, so all forms of CloudEvents are accepted, and
    requests for permission are answered.
    """

    name = "eventgrid"

    def recognises(self, incoming: Incoming) -> bool:
        """Match only Huawei Cloud's events if the source also accepts other CloudEvents."""
        if "cloudevents" in self.settings.accept or "azure" in self.settings.accept:
            return _is_from_huawei(incoming)
        return forms.is_cloudevent(incoming) or forms.is_permission_request(incoming)

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        return forms.permission_reply(incoming)

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the events, each in the structured form."""
        return forms.read_events(incoming)


def _is_from_huawei(incoming: Incoming) -> bool:
    if incoming.headers.get("ce-source", "").startswith(_SOURCE):
        return True
    return f'"{_SOURCE}'.encode() in incoming.body and any(
        isinstance(item, dict) and str(item.get("source")).startswith(_SOURCE)
        for item in forms.list_items(incoming)
    )
