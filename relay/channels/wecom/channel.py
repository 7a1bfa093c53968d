"""Posts messages to a group robot of WeCom (Enterprise WeChat).

Source: developer.work.weixin.qq.com, "Configuration of message push (formerly group robots)".
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from relay.channels.card import Card
from relay.channels.group_robot import GroupRobot, RobotSettings
from relay.channels.known_errors import KnownError
from relay.channels.wecom.card import render
from relay.channels.wecom.errors import ERRORS, PRODUCT, TOO_LONG, WEBHOOK_INVALID
from relay.config.units import Rate, RateLimit
from relay.model import Json, Localized
from relay.outbound.webhook import WebhookResponse


class WeComSettings(RobotSettings):
    """Settings of a group robot. The address contains the key."""

    HOST: ClassVar[str] = "qyapi.weixin.qq.com"

    # The limit is 20 in any minute; twice the configured number may fall into a minute.
    rate: Rate | None = Field(
        RateLimit(10, timedelta(minutes=1)),
        description='messages per period, such as "10/1m"; the service allows 20 in any minute',
    )


class Channel(GroupRobot):
    """A group robot of WeCom."""

    Settings = WeComSettings
    PRODUCT: ClassVar[Localized] = PRODUCT

    def render(self, card: Card) -> Json:
        return render(card, self.settings.language)

    def known_error(self, code: int, response: WebhookResponse) -> KnownError | None:
        if code == WEBHOOK_INVALID and "max length" in response.text.lower():
            code = TOO_LONG
        return ERRORS.get(code)
