"""Bare records: a storage's own JSON, unsigned; a token proves the sender."""

from __future__ import annotations

from collections.abc import Iterator

from relay.envelopes.inside import Record, decode, records
from relay.envelopes.token import TokenEnvelope
from relay.model import Incoming


class Bare(TokenEnvelope):
    """JSON from a sender that knows the token, whatever it is wrapped in."""

    name = "bare"

    def recognises(self, incoming: Incoming) -> bool:  # noqa: ARG002 - it is what no other one is
        """Always: even garbage from a verified sender is kept. So it is asked last."""
        return True

    def unwrap(self, incoming: Incoming) -> Iterator[Record]:
        """The records of the body, each an object."""
        return records(decode(incoming.body))
