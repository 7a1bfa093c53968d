"""Envelope: the wrapping a notification travelled in: its sender, its handshake, its records.

One file per wrapping in `relay/envelopes/`. An envelope without its credentials is absent from a
source, never permissive: a forger picks the weakest door.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from relay.model import Incoming
from relay.settings import SourceSettings


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to a handshake."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Envelope(ABC):
    """One kind of wrapping, made for one source."""

    name: ClassVar[str]

    def __init__(self, settings: SourceSettings) -> None:
        self.settings = settings

    @abstractmethod
    def missing(self) -> str | None:
        """Which setting is missing to verify senders; None: it can be offered on a hook."""

    @abstractmethod
    def recognises(self, incoming: Incoming) -> bool:
        """Whether this looks like ours. Cheap; trusts nothing."""

    @abstractmethod
    def verify(self, incoming: Incoming) -> None:
        """Raises Unverified unless a known sender sent exactly these bytes."""

    def answer(self, incoming: Incoming) -> Answer | None:
        """The reply when this is a handshake (after `verify`), else None."""
        return None

    @abstractmethod
    def unwrap(self, body: bytes) -> Iterator[Mapping[str, Any]]:
        """The storage's own records; Unreadable when there are none to be made out.

        Also used for the bodies of queues, which need no verification.
        """
