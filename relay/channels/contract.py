"""Channel: the contract of a place where messages go. One method.

`relay/channels/<kind>.py` with a class `Channel`; third parties by entry point `relay.channels`
or dotted path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from relay.channels.card import Card, build_card, mark_as_test
from relay.channels.card_templates import apply_templates
from relay.config.load import ChannelSettings
from relay.model import Json
from relay.outbound.session import HttpClientFactory


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel posts. `id` is the same at every repeat; `body` is the webhook's `data`.

    `type` is import.succeeded, import.failed, import.skipped, target.down, target.up or digest;
    `timestamp` is when the result came to be. Sentences in the body are in both languages; the
    channel picks its own. `thread`: the `thread` of the message that this one follows up, where
    that one was posted and its service named it. A body with a true `test` was made by hand, and
    tells of nothing that happened.
    """

    id: str
    type: str
    timestamp: datetime
    body: Json
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of a post. `answer`: an excerpt, without secrets. `thread`: the service's own name
    of the message, where a later one can be put beneath it; at most 200 characters."""

    answer: str
    thread: str | None = None


class Channel(ABC):
    """One configured channel. Made once per process, used by many threads at once."""

    Settings: ClassVar[type[ChannelSettings]] = ChannelSettings
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that are imported at first use; where one is missing, the configuration is told."""

    def __init__(self, name: str, settings: Any, outbound: HttpClientFactory) -> None:
        self.name = name
        self.settings = settings
        self.outbound = outbound

    @abstractmethod
    def post(self, message: Message) -> Posted:
        """Posts the message; what the service answered.

        Raises TemporaryFailure (with retry_after when the service says so) or PermanentFailure.
        Success is what the service's answer says, not its status alone.
        """

    def build_card(self, message: Message) -> Card:
        """What the message says, in this channel's language and words: to be laid out."""
        language = self.settings.language
        told = build_card(message.type, message.body, language)
        told = apply_templates(told, self.settings.words, message.type, message.body, language)
        return mark_as_test(told, language) if message.body.get("test") else told

    def preview(self, message: Message) -> Json | None:  # noqa: ARG002 - a default
        """What would be posted, without what says where or proves who we are; None: it cannot be
        shown. Posts nothing."""
        return None

    def ready(self) -> str | None:
        """Tries the connection and says what it saw; None: there is no way to try.

        Changes nothing. Raises the errors of the tree.
        """
        return None

    def close(self) -> None:
        """Gives connections back."""
