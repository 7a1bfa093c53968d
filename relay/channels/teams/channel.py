"""Posts messages to a Microsoft Teams channel or chat through a Workflows webhook.

Source: learn.microsoft.com, "Create incoming webhooks with Workflows for Microsoft Teams" and
"Create an Incoming Webhook".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import Field

from relay.channels import contract
from relay.channels.card import encode
from relay.channels.contract import Message, Posted
from relay.channels.teams.card import render
from relay.channels.teams.errors import to_error
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.model import Json
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl

_WORKFLOWS = re.compile(
    r"(.+\.)?(logic\.azure\.(com|us|cn)|api\.powerplatform(\.partner\.microsoftonline\.cn|\.com|\.us)"
    r"|flow\.microsoft\.us|appsplatform\.us)"
)
_CONNECTORS = re.compile(r"outlook\.office(365)?\.com|.+\.webhook\.office(365)?\.(com|us)")


class TeamsSettings(ChannelSettings):
    """Settings of a Workflows webhook."""

    url: PostUrl = Field(description="the Workflows webhook's URL, which is its credential")
    rate: Rate | None = Field(
        RateLimit(1, timedelta(seconds=1)),
        description='messages per period, such as "20/1m"; Teams allows four a second',
    )

    def advise(self) -> Iterator[tuple[str, str]]:
        host = urlsplit(self.url.get_secret_value()).hostname or ""
        if _CONNECTORS.fullmatch(host):
            yield (
                "its url is that of an Office 365 connector, which Microsoft retires",
                "Create a webhook with Workflows instead.",
            )
        elif not _WORKFLOWS.fullmatch(host):
            yield (
                "its url is not that of a Teams webhook",
                "Workflows' are at *.logic.azure.com or *.api.powerplatform.com.",
            )


class Channel(contract.Channel):
    """A webhook of Workflows, or an old connector. Neither can be tested without posting."""

    Settings: ClassVar[type[ChannelSettings]] = TeamsSettings

    def __init__(self, name: str, settings: TeamsSettings, outbound: HttpClientFactory) -> None:
        super().__init__(name, settings, outbound)
        self._poster = Poster(outbound, settings.url.get_secret_value())

    def preview(self, message: Message) -> Json:
        return render(self.build_card(message))

    def post(self, message: Message) -> Posted:
        """Post the message. Success is 202, or 200 with the body `1` from an old connector.

        202 means that the workflow has started; only the run history shows whether it posted.
        """
        response = self._poster.post(
            encode(self.preview(message)), {"content-type": "application/json; charset=utf-8"}
        )
        if response.status == 202 or (response.status == 200 and response.text.strip() == "1"):
            return Posted(response.summary)
        raise to_error(response)

    def close(self) -> None:
        self._poster.close()
