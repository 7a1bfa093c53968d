"""Posts messages to a Discord channel through a webhook.

Source: the documentation of Discord for developers, "Webhook Resource" (Execute Webhook).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import Field

from relay.channels import contract
from relay.channels.card import plain
from relay.channels.contract import Message, Posted
from relay.channels.discord.card import render
from relay.channels.discord.errors import to_error
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.model import Json
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl

_HOSTS = ("discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com")


class DiscordSettings(ChannelSettings):
    """Settings of a webhook."""

    url: PostUrl = Field(
        description="the webhook's URL, which is its credential; ?thread_id=... posts to a thread"
    )
    rate: Rate | None = Field(
        RateLimit(15, timedelta(minutes=1)),
        description='messages per period, such as "20/1m"; Discord allows about 30 a minute',
    )

    def advise(self) -> Iterator[tuple[str, str]]:
        split = urlsplit(self.url.get_secret_value())
        if split.hostname not in _HOSTS:
            yield "its url is not Discord's", f"Webhooks are at https://{_HOSTS[0]}/api/webhooks/."
        if split.path.rstrip("/").endswith(("/slack", "/github")):
            yield "its url ends with /slack or /github", "Remove that: it is for other programs."


class Channel(contract.Channel):
    """A webhook. It cannot reply, so there are no threads."""

    Settings: ClassVar[type[ChannelSettings]] = DiscordSettings

    def __init__(self, name: str, settings: DiscordSettings, outbound: HttpClientFactory) -> None:
        super().__init__(name, settings, outbound)
        self._poster = Poster(outbound, _add_wait(settings.url.get_secret_value()))

    def preview(self, message: Message) -> Json:
        return render(self.build_card(message))

    def post(self, message: Message) -> Posted:
        """Post the message. Success is 200 with the created message.

        204 is a success as well: a proxy has removed `wait` from the query.
        """
        body = json.dumps(self.preview(message)).encode("ascii")
        response = self._poster.post(body, {"content-type": "application/json"})
        if response.status == 204:
            return Posted(response.summary)
        if response.status == 200 and response.payload.get("id"):
            return Posted(f"200 message {plain(str(response.payload['id']), 40)}")
        raise to_error(response)

    def ready(self) -> str:
        """Check that the webhook exists. Changes nothing."""
        response = self._poster.get()
        if response.status == 200 and response.payload.get("channel_id"):
            return f"the webhook {plain(str(response.payload.get('name')), 80)} exists"
        raise to_error(response)

    def close(self) -> None:
        self._poster.close()


def _add_wait(url: str) -> str:
    """Add `wait` to the query: without it Discord reports success before it saves the message."""
    split = urlsplit(url)
    query = dict(parse_qsl(split.query)) | {"wait": "true"}
    return split._replace(query=urlencode(query)).geturl()
