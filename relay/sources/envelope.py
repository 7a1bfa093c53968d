"""Envelope: the wrapping a notification travelled in: its sender, its handshake, its records.

One file per wrapping in `relay/envelopes/`. An envelope without its credentials is absent from a
source, never permissive: a forger picks the weakest door.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from relay.config.load import SourceSettings
from relay.errors import TemporaryFailure
from relay.model import Incoming

Fetch = Callable[[str], bytes]
"""GETs an address that was pinned before: the answer's body when it is a 200, bounded, without
following redirects, public addresses only. TemporaryFailure when there is no such answer."""


@dataclass(frozen=True, slots=True)
class HandshakeReply:
    """The reply to a handshake."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def fetch_nothing(url: str) -> bytes:  # noqa: ARG001 - the signature is Fetch's
    """A Fetch that reaches nobody, for an envelope that only reads what was verified before."""
    raise TemporaryFailure("envelope.no_way_out", "There is no way out from here")


class Envelope(ABC):
    """One kind of wrapping, made once for one source and used by many threads at once."""

    name: ClassVar[str]

    def __init__(self, settings: SourceSettings, fetch: Fetch = fetch_nothing) -> None:
        """`fetch` gets certificates and keys, and visits confirmation addresses."""
        self.settings = settings
        self.fetch = fetch

    @abstractmethod
    def missing_setting(self) -> str | None:
        """Which setting is missing to verify senders; None: it can be offered on a hook."""

    @abstractmethod
    def recognises(self, incoming: Incoming) -> bool:
        """Whether this looks like ours. Cheap; trusts nothing."""

    @abstractmethod
    def verify(self, incoming: Incoming) -> None:
        """Raises Unverified unless a known sender sent exactly these bytes.

        TemporaryFailure when that cannot be found out now, such as a certificate's host that does
        not answer: the sender is asked to come again.
        """

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """The reply when this is a handshake (after `verify`), else None.

        TemporaryFailure when an address that confirms it does not answer.
        """
        return None

    @abstractmethod
    def unwrap(self, incoming: Incoming) -> Iterator[Mapping[str, Any]]:
        """The storage's own records; Unreadable when there are none to be made out.

        Called after `verify`, or for what was verified when it came. Headers are there too:
        some wrappings keep in them what they say.
        """
