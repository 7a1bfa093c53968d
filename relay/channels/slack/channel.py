"""Posts messages to Slack: through an incoming webhook, or as a bot with threads.

Source: docs.slack.dev, "Sending messages using incoming webhooks" and "Rate limits".
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from relay.channels import contract
from relay.channels.contract import Message, Posted
from relay.channels.slack.bot import API, Bot
from relay.channels.slack.card import mark, render
from relay.channels.slack.errors import webhook_error
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.config.validators import nothing_if_empty
from relay.errors import RelayError
from relay.model import Json
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl

log = logging.getLogger(__name__)

_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")


class SlackSettings(ChannelSettings):
    """Settings of an incoming webhook, or of a bot, which supports threads."""

    url: Annotated[PostUrl | None, BeforeValidator(nothing_if_empty)] = Field(
        None,
        description="the incoming webhook's URL, which is its credential; "
        "or else token and channel, for threads",
    )
    token: Annotated[SecretStr | None, BeforeValidator(nothing_if_empty)] = Field(
        None, description="a bot's token, xoxb-..., with the scope chat:write; instead of url"
    )
    channel: str = Field(
        "",
        max_length=100,
        description="where the bot posts: the Slack channel's id, such as C0123456789, or its name",
    )
    rate: Rate | None = Field(
        RateLimit(1, timedelta(seconds=1)),
        description='messages per period, such as "20/1m"; Slack allows one a second',
    )

    @model_validator(mode="after")
    def _either_webhook_or_bot(self) -> Self:
        if self.url and (self.token or self.channel):
            raise ValueError("has a url and a token or channel: either url, or token and channel")
        if not self.url and not (self.token and self.channel):
            raise ValueError("needs url (an incoming webhook), or token and channel (a bot)")
        return self

    def advise(self) -> Iterator[tuple[str, str]]:
        if self.url and urlsplit(self.url.get_secret_value()).hostname not in _HOSTS:
            yield "its url is not Slack's", f"Incoming webhooks are at https://{_HOSTS[0]}/."
        if self.token and not self.token.get_secret_value().startswith("xoxb-"):
            yield "its token is not a bot's", "A Bot User OAuth Token begins with xoxb-."


class Channel(contract.Channel):
    """An incoming webhook or a bot."""

    Settings: ClassVar[type[ChannelSettings]] = SlackSettings

    def __init__(
        self, name: str, settings: SlackSettings, outbound: HttpClientFactory, *, api: str = API
    ) -> None:
        super().__init__(name, settings, outbound)
        self._bot: Bot | None = None
        if settings.token:
            self._bot = Bot(outbound, settings.token.get_secret_value(), settings.channel, api)
        if settings.url:
            self._webhook = Poster(outbound, settings.url.get_secret_value())

    def preview(self, message: Message) -> Json:
        return render(self.build_card(message))

    def post(self, message: Message) -> Posted:
        """Post the message; a bot replies in the thread of the message that it follows.

        A recovery is also shown in the channel, and the message about the failure is marked.
        """
        card = self.build_card(message)
        if not self._bot:
            return self._post_to_webhook(render(card))
        recovered = card.result == "recovered"
        posted = self._bot.post(render(card), message.thread, broadcast=recovered)
        if recovered and posted.thread and posted.thread == message.thread:
            try:
                self._bot.mark(posted.thread, mark(card))
            except RelayError as error:
                # The message is posted. Raising here would post it again.
                log.warning("message not marked", extra={"channel": self.name, "error": error.code})
        return posted

    def ready(self) -> str | None:
        """Describe the bot; a webhook cannot be tested without posting."""
        return self._bot.ready() if self._bot else None

    def close(self) -> None:
        (self._bot or self._webhook).close()

    def _post_to_webhook(self, body: Json) -> Posted:
        """Post the body. Success is 200 with the body `ok`."""
        response = self._webhook.post(
            json.dumps(body).encode("ascii"), {"content-type": "application/json; charset=utf-8"}
        )
        if response.status == 200 and response.text.strip() == "ok":
            return Posted(response.summary)
        raise webhook_error(response)
