"""Posts messages to a custom robot in a DingTalk group.

Source: open.dingtalk.com, "Custom robot access" and "Robot security settings".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta
from functools import partial
from typing import ClassVar

from pydantic import Field, SecretStr

from relay.channels.card import Card, render_to_fit
from relay.channels.dingtalk.card import render
from relay.channels.dingtalk.errors import (
    ERRORS,
    PRODUCT,
    SECURITY,
    SECURITY_SETTINGS,
    SECURITY_WORDS,
)
from relay.channels.group_robot import GroupRobot, Keyword, RobotSettings
from relay.channels.known_errors import KnownError
from relay.config.units import Rate, RateLimit
from relay.model import Json, Localized
from relay.outbound.webhook import WebhookResponse

LONGEST_BODY = 20_000
"""Bytes of a request: "message too long, exceed 20000 bytes"."""


class DingTalkSettings(RobotSettings):
    """Settings of a robot. Its security settings in DingTalk decide what it needs."""

    HOST: ClassVar[str] = "oapi.dingtalk.com"

    secret: SecretStr = Field(
        SecretStr(""), description="the robot's signing key, SEC...; empty: unsigned"
    )
    keyword: Keyword = Field("", description="a custom keyword that the robot requires")
    # The limit is 20 in any minute; twice the configured number may fall into a minute.
    rate: Rate | None = Field(
        RateLimit(10, timedelta(minutes=1)),
        description='messages per period, such as "10/1m"; the service allows 20 messages in any '
        "minute and blocks the robot for ten minutes after more",
    )


class Channel(GroupRobot):
    """A custom robot of DingTalk."""

    Settings = DingTalkSettings
    PRODUCT: ClassVar[Localized] = PRODUCT

    def render(self, card: Card) -> Json:
        settings = self.settings
        rendering = partial(render, language=settings.language, keyword=settings.keyword)
        return render_to_fit(card, rendering, LONGEST_BODY)

    def sign(self, body: Json) -> tuple[Json, dict[str, str]]:
        secret = self.settings.secret.get_secret_value()
        if not secret:
            return body, {}
        timestamp = str(int(self._clock().timestamp() * 1000))
        return body, {"timestamp": timestamp, "sign": signature(timestamp, secret)}

    def known_error(self, code: int, response: WebhookResponse) -> KnownError | None:
        if code != SECURITY_SETTINGS:
            return ERRORS.get(code)
        text = str(response.payload.get("errmsg", "")).lower()
        matches = (error for error, words in SECURITY_WORDS if any(word in text for word in words))
        return next(matches, SECURITY)


def signature(timestamp: str, secret: str) -> str:
    """Sign the time in milliseconds and the secret, with the secret as the key.

    The result is base64; the caller quotes it for the URL.
    """
    signed = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode("ascii")
