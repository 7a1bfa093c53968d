"""Envelope: the contract of a wrapping that notifications arrive in.

An envelope verifies the sender, answers handshakes and unwraps the storage's records. Each is a
module in `relay/sources/envelopes/`. An envelope without credentials is not offered at all,
because an attacker chooses the weakest envelope that a source accepts.
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
"""Sends a GET to a URL that was checked before; returns the body of a 200 response.

The body is bounded, redirects are not followed, and only public addresses are reached. Raises
TemporaryFailure for any other response."""


@dataclass(frozen=True, slots=True)
class HandshakeReply:
    """The HTTP response to a handshake."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def refuse_fetch(url: str) -> bytes:  # noqa: ARG001 - the signature of Fetch
    """A Fetch without a network, for envelopes that only unwrap verified notifications."""
    raise TemporaryFailure("envelope.no_way_out", "No network access is available here")


class Envelope(ABC):
    """An envelope of a source; used by many threads at once."""

    name: ClassVar[str]

    Settings: ClassVar[type[SourceSettings]] = SourceSettings
    """Declares the keys that this envelope adds to the settings of every source."""

    secret_fields: ClassVar[tuple[str, ...]] = ()
    """JSON fields with credentials, such as confirmation URLs; stored bodies leave them out."""

    def __init__(self, settings: SourceSettings, fetch: Fetch = refuse_fetch) -> None:
        """`fetch` gets certificates and keys, and visits confirmation URLs."""
        self.settings = settings
        self.fetch = fetch

    @abstractmethod
    def missing_setting(self) -> str | None:
        """The setting without which senders cannot be verified; None if the envelope is usable."""

    @abstractmethod
    def recognises(self, incoming: Incoming) -> bool:
        """Whether the request looks like this envelope. Cheap, and before any verification."""

    @abstractmethod
    def verify(self, incoming: Incoming) -> None:
        """Raise Unverified unless a known sender sent exactly these bytes.

        TemporaryFailure when this cannot be decided now, for example because a certificate cannot
        be fetched. The sender should retry.
        """

    def answer(self, incoming: Incoming) -> HandshakeReply | None:
        """The reply to a handshake, None for other requests. Called after `verify`.

        TemporaryFailure when the confirmation URL does not respond.
        """
        return None

    @abstractmethod
    def unwrap(self, incoming: Incoming) -> Iterator[Mapping[str, Any]]:
        """Yield the storage's own records; Unreadable when the request contains none.

        Called after `verify`, or for stored notifications that were verified on arrival. Some
        envelopes keep fields in headers, so the whole request is passed.
        """
