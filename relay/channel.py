"""Channel: the contract of a place where messages go. One method.

`relay/channels/<kind>.py` with a class `Channel`; third parties by entry point `relay.channels`
or dotted path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from relay.model import Json
from relay.outbound import Outbound
from relay.settings import ChannelSettings


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel posts. `id` is the same at every repeat; `body` is the webhook's `data`.

    `type` is import.succeeded, import.failed or import.skipped; `timestamp` is when the result
    came to be. `body["error"]`, when there, holds both languages; the channel picks its own.
    """

    id: str
    type: str
    timestamp: datetime
    body: Json


class Channel(ABC):
    """One configured channel. Made once per process, used by many threads at once."""

    Settings: ClassVar[type[ChannelSettings]] = ChannelSettings

    def __init__(self, name: str, settings: Any, outbound: Outbound) -> None:
        self.name = name
        self.settings = settings
        self.outbound = outbound

    @abstractmethod
    def post(self, message: Message) -> str:
        """Posts the message; returns an excerpt of the answer, without secrets.

        Raises TemporaryFailure (with retry_after when the service says so) or PermanentFailure.
        Success is what the service's answer says, not its status alone.
        """

    def ready(self) -> str | None:
        """Tries the connection and says what it saw; None: there is no way to try.

        Changes nothing. Raises the errors of the tree.
        """
        return None

    def close(self) -> None:
        """Gives connections back."""
