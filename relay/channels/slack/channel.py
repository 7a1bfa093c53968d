"""Posts messages to Slack as Block Kit: by an incoming webhook, or as a bot with threads.

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

import relay.channels.contract
from relay.channels.contract import Message, Posted
from relay.channels.slack.bot import API, Bot
from relay.channels.slack.card import mark, render
from relay.channels.slack.errors import not_slack, of_webhook
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.config.validators import nothing_if_empty
from relay.errors import RelayError
from relay.model import Json
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl, refusal

log = logging.getLogger(__name__)

_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")


class SlackSettings(ChannelSettings):
    """What an incoming webhook needs; or a bot, whose messages know their threads."""

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
        description='the most messages in a time, such as "20/1m"; Slack takes one a second',
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


class Channel(relay.channels.contract.Channel):
    """One incoming webhook, or one bot. Slack shows no ids, so a repeat is a second message with
    the same delivery in its footer."""

    Settings: ClassVar[type[ChannelSettings]] = SlackSettings

    def __init__(
        self, name: str, settings: SlackSettings, outbound: HttpClientFactory, *, api: str = API
    ) -> None:
        super().__init__(name, settings, outbound)
        self._way: Bot | Webhook
        if settings.url:
            self._way = Webhook(outbound, settings.url.get_secret_value())
        else:
            token = settings.token.get_secret_value() if settings.token else ""
            self._way = Bot(outbound, token, settings.channel, api)

    def preview(self, message: Message) -> Json:
        """What is posted, but for where it goes."""
        return render(self.build_card(message))

    def post(self, message: Message) -> Posted:
        """As a bot, a message that follows one up is a reply to it; what is over is also shown in
        the channel, and marked at the message that told of the failure."""
        shown = self.build_card(message)
        over = shown.result == "recovered"
        posted = self._way.post(render(shown), message.thread, broadcast=over)
        if over and posted.thread and posted.thread == message.thread:
            error = self._way.mark(posted.thread, mark(shown))
            if error:
                # The team has been told: a mark that is missing is not worth telling it again.
                log.warning("message not marked", extra={"channel": self.name, "error": error.code})
        return posted

    def ready(self) -> str | None:
        """A bot says who it is; a webhook cannot be tried without posting."""
        return self._way.ready()

    def close(self) -> None:
        self._way.close()


class Webhook:
    """One incoming webhook, which has the manners of a bot, and knows no threads."""

    def __init__(self, outbound: HttpClientFactory, url: str) -> None:
        self._poster = Poster(outbound, url)

    def post(
        self,
        told: Json,
        thread: str | None = None,  # noqa: ARG002 - a bot's
        *,
        broadcast: bool = False,  # noqa: ARG002 - a bot's
    ) -> Posted:
        """Success is 200 with the body `ok`, nothing else."""
        answer = self._poster.post(
            json.dumps(told).encode("ascii"), {"content-type": "application/json; charset=utf-8"}
        )
        if answer.status == 200 and answer.text.strip() == "ok":
            return Posted(answer.summary)
        refused = of_webhook(answer.text.strip(), answer)
        if not refused:
            refused = not_slack(answer) if answer.status == 200 else refusal(answer)
        raise refused

    def mark(self, thread: str, attachment: Json) -> RelayError | None:  # noqa: ARG002 - a bot's
        return None

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        self._poster.close()
