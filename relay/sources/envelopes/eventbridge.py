"""EventBridge: events from an Amazon EventBridge API destination, verified by the source's token.

Wire formats: EventBridge user guide, "Events" and "API destinations". The output of an input
transformer is not an event any more; the envelope `bare` accepts it.
"""

from __future__ import annotations

from collections.abc import Iterator

from relay.model import Incoming
from relay.sources.envelopes.cloudevent_forms import list_items
from relay.sources.envelopes.token import TokenEnvelope
from relay.sources.envelopes.unwrap import Record, decode_json, unwrap_records

_FIELDS = frozenset(("detail-type", "source", "detail"))


class EventBridge(TokenEnvelope):
    """Events of a connection that sends the token as Basic, or as an API key in a header."""

    name = "eventbridge"

    def recognises(self, incoming: Incoming) -> bool:
        if b'"detail-type"' not in incoming.body:
            return False
        items = list_items(incoming)
        return bool(items) and all(
            isinstance(item, dict) and item.keys() >= _FIELDS for item in items
        )

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """Yield the whole event; handlers recognise it by the detail-type."""
        return unwrap_records(decode_json(incoming.body))
