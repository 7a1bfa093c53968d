"""Base of the group robots of Feishu, Lark, DingTalk and WeCom.

All of them respond with HTTP 200 and a number in the body: only that number says whether the
message was posted.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from relay.channels import contract
from relay.channels.card import Card, Line, Link, encode, plain
from relay.channels.contract import Message, Posted
from relay.channels.known_errors import KnownError, strip_chinese, unexpected_response
from relay.channels.markdown_escape import escape_markdown, markdown_link
from relay.config.load import ChannelSettings
from relay.errors import RelayError, TemporaryFailure
from relay.model import Json, Localized, utc_now
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl, WebhookResponse, refusal

LONGEST_KEYWORD = 50

_CONTENT_TYPE = {"content-type": "application/json; charset=utf-8"}
_OPEN = Localized("open", "查看")


def _check_keyword(keyword: str) -> str:
    if keyword != plain(keyword, LONGEST_KEYWORD):
        raise ValueError(f"is one line of at most {LONGEST_KEYWORD} characters")
    return keyword


Keyword = Annotated[str, AfterValidator(_check_keyword)]
"""A word that the robot's security settings demand in every message."""


class RobotSettings(ChannelSettings):
    """Settings of every group robot."""

    HOST: ClassVar[str] = ""

    url: PostUrl = Field(description="the robot's webhook address, which is its credential")

    def advise(self) -> Iterator[tuple[str, str]]:
        host = urlsplit(self.url.get_secret_value()).hostname or ""
        if host != self.HOST:
            yield (
                f"its url leads to {host}; robots of kind {self.kind} are at {self.HOST}",
                "Check kind and url, unless you run a gateway at that host.",
            )


class GroupRobot(contract.Channel):
    """A robot in a chat group."""

    PRODUCT: ClassVar[Localized]
    """The name of the service in error messages."""

    def __init__(
        self,
        name: str,
        settings: RobotSettings,
        outbound: HttpClientFactory,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name, settings, outbound)
        self._clock = clock
        secrets = [
            value.get_secret_value() for _, value in settings if isinstance(value, SecretStr)
        ]
        self._poster = Poster(outbound, settings.url.get_secret_value(), secrets)

    @abstractmethod
    def render(self, card: Card) -> Json:
        """Return the unsigned body that shows the card, within the service's limits."""

    @abstractmethod
    def known_error(self, code: int, response: WebhookResponse) -> KnownError | None:
        """Look up an error code in the service's table."""

    def sign(self, body: Json) -> tuple[Json, dict[str, str]]:
        """Return the body and the query parameters to post now, signed if there is a secret."""
        return body, {}

    def post(self, message: Message) -> Posted:
        """Post the message. Success is status 200 and a JSON object whose error code is 0."""
        body, query = self.sign(self.preview(message))
        response = self._poster.post(encode(body), _CONTENT_TYPE, query)
        code = self.error_code(response)
        if response.status == 200 and code == 0:
            return Posted(response.summary)
        raise self._to_error(response, code)

    def preview(self, message: Message) -> Json:
        return self.render(self.build_card(message))

    def error_code(self, response: WebhookResponse) -> int | None:
        """Return the code of the service, 0 on success; None if the response has none."""
        code = response.payload.get("errcode")
        return code if type(code) is int else None  # True is an int as well

    def close(self) -> None:
        self._poster.close()

    def _to_error(self, response: WebhookResponse, code: int | None) -> RelayError:
        if code and (known := self.known_error(code, response)):
            return known.to_error(self.settings.kind, response)
        if response.status != 200:
            return refusal(response)
        if code is None:
            return unexpected_response(self.settings.kind, self.PRODUCT, response)
        return TemporaryFailure(
            f"{self.settings.kind}.refused",
            strip_chinese(
                f"{self.PRODUCT.en} refused the message (error {code})",
                f"{self.PRODUCT.zh}拒绝了这条消息（错误码 {code}）",
            ),
            strip_chinese(
                "The response is stored with the attempt. Relay keeps retrying.",
                f"{self.PRODUCT.zh}的响应保存在该次尝试中；其间 Relay 会继续重试。",
            ),
            answer=response.summary,
        )


def heading(card: Card, language: str) -> str:
    """Return the first line of a card as plain text."""
    name = f"{colon(language)}{card.name}" if card.name else ""
    return f"{card.sign} {card.title}{name}"


def digest_row(line: Line, language: str) -> str:
    """Return a delivery of a digest as Markdown with a link."""
    link = f" {markdown_link(Link(_OPEN.in_language(language), line.url))}" if line.url else ""
    return f"{line.sign} **{escape_markdown(line.name)}** {escape_markdown(line.text)}{link}"


def add_keyword(footer: str, keyword: str, shown: str) -> str:
    """Append the keyword to the footer, unless `shown` or the footer contains it."""
    return footer if keyword in f"{shown}{footer}" else f"{footer} · {keyword}"


def colon(language: str) -> str:
    return "：" if language == "zh" else ": "


def parenthesize(text: str | None, language: str) -> str:
    """Return an error code in parentheses, to follow a sentence; "" if there is none."""
    if not text:
        return ""
    return f"（{escape_markdown(text)}）" if language == "zh" else f" ({escape_markdown(text)})"
