"""Amazon EventBridge's API destinations: whole events, unsigned; a token proves the sender.

Wire formats: EventBridge user guide, "Events" and "API destinations". What an input transformer
made of an event is no event any more: that is bare.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelopes.cloudevent_forms import shape
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import Record, decode, records

_FIELDS = frozenset(("detail-type", "source", "detail"))


class EventBridge(TokenEnvelope):
    """Events of a connection that shows the token: as Basic, or as an API key in a header."""

    name = "eventbridge"

    def recognises(self, incoming: Incoming) -> bool:
        if b'"detail-type"' not in incoming.body:
            return False
        every = shape(incoming)
        return bool(every) and all(isinstance(one, dict) and one.keys() >= _FIELDS for one in every)

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The event as a whole: a handler tells by its detail-type what it is."""
        return records(decode(incoming.body))
