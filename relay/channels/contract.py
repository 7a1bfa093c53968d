"""The contract of a channel: a service to which Relay posts messages.

A channel is a class `Channel` that implements one method, `post(message)`. It is either in
`relay/channels/<kind>/channel.py` or in a third-party package, found through the entry point group
`relay.channels` or as `kind = "package.module:Channel"`. `Settings` declares the keys of the table
[channels.NAME]. A complete channel:

    class Channel(contract.Channel):
        class Settings(ChannelSettings):
            url: PostUrl

        def post(self, message):
            poster = Poster(self.outbound, self.settings.url.get_secret_value())
            response = poster.post(self.build_card(message).summary.encode(), {})
            poster.close()
            if response.status != 200:
                raise refusal(response)
            return Posted(response.summary)

`ChannelSettings` is in relay.config.load; `PostUrl`, `Poster` and `refusal` are in
relay.outbound.webhook. `relay.testing.ChannelSuite` tests an implementation.
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
    """A message to post.

    `id`: identical when the message is retried. Chat services do not deduplicate: a retried message
    may appear twice, with the same delivery id in the footer.
    `type`: import.succeeded, import.failed, import.skipped, target.down, target.up,
    configuration.missing or digest.
    `timestamp`: when the result was recorded.
    `body`: the `data` of the generic webhook. Sentences are {"en": ..., "zh": ...}; the channel
    uses `settings.language`. A true `test` marks a test message: the content is not real.
    `thread`: `Posted.thread` of the message that this message follows up; None if there is none.
    """

    id: str
    type: str
    timestamp: datetime
    body: Json
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """The result of a successful post.

    `answer`: an excerpt of the response, without secrets.
    `thread`: the service's id of the message, at most 200 characters, if replies are possible.
    """

    answer: str
    thread: str | None = None


class Channel(ABC):
    """A configured channel. Each process has a single instance, which must be thread-safe."""

    Settings: ClassVar[type[ChannelSettings]] = ChannelSettings
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that `post` imports. Without them the configuration is invalid."""

    def __init__(self, name: str, settings: Any, outbound: HttpClientFactory) -> None:
        self.name = name
        self.settings = settings
        self.outbound = outbound

    @abstractmethod
    def post(self, message: Message) -> Posted:
        """Post the message.

        Raise TemporaryFailure (with `retry_after`, if the service asks for a delay) or
        PermanentFailure. Decide success by the content of the response, not by the status alone:
        many services return errors with status 200.
        """

    def build_card(self, message: Message) -> Card:
        """Return the content of the message in this channel's language, after its templates."""
        language, words = self.settings.language, self.settings.words
        card = build_card(message.type, message.body, language)
        card = apply_templates(card, words, message.type, message.body, language)
        return mark_as_test(card, language) if message.body.get("test") else card

    def preview(self, message: Message) -> Json | None:  # noqa: ARG002 - a default
        """Return the body that `post` would send, without addresses and credentials.

        None: the channel has no preview. Posts nothing.
        """
        return None

    def ready(self) -> str | None:
        """Test the connection and describe the result; None if the service has no such test.

        Changes nothing. Raises a RelayError if the channel cannot post.
        """
        return None

    def close(self) -> None:
        """Close connections."""
