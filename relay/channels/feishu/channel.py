"""Posts messages to a custom bot in a Feishu group.

Source: open.feishu.cn, "Custom bot usage guide": address, signature, 20 KB, 100 messages a minute
and 5 a second.
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
from relay.channels.feishu.card import render
from relay.channels.feishu.errors import INVALID_REQUEST, RATE_LIMITED, error_table
from relay.channels.group_robot import GroupRobot, Keyword, RobotSettings
from relay.channels.known_errors import KnownError
from relay.config.units import Rate, RateLimit
from relay.model import Json, Localized
from relay.outbound.webhook import WebhookResponse

LONGEST_BODY = 20_000
"""Bytes of a request. The guide says 20 KB; this is the smaller interpretation."""

_SIGNATURE_BYTES = 120


class FeishuSettings(RobotSettings):
    """Settings of a bot. The bot's own security settings decide whether it needs a secret."""

    HOST: ClassVar[str] = "open.feishu.cn"

    secret: SecretStr = Field(
        SecretStr(""), description="the key of the bot's signature verification; empty: unsigned"
    )
    keyword: Keyword = Field("", description="a custom keyword that the bot requires")
    # The service allows 5 messages a second and 100 a minute: 1 a second respects both.
    rate: Rate | None = Field(
        RateLimit(1, timedelta(seconds=1)),
        description='messages per period, such as "1/1s"; the service allows 5 a second '
        "and 100 a minute",
    )


class Channel(GroupRobot):
    """A custom bot of Feishu."""

    Settings = FeishuSettings
    PRODUCT: ClassVar[Localized] = Localized("Feishu", "飞书")

    def render(self, card: Card) -> Json:
        settings = self.settings
        rendering = partial(render, language=settings.language, keyword=settings.keyword)
        return render_to_fit(card, rendering, LONGEST_BODY - _SIGNATURE_BYTES)

    def sign(self, body: Json) -> tuple[Json, dict[str, str]]:
        secret = self.settings.secret.get_secret_value()
        if not secret:
            return body, {}
        timestamp = str(int(self._clock().timestamp()))
        return {"timestamp": timestamp, "sign": signature(timestamp, secret), **body}, {}

    def error_code(self, response: WebhookResponse) -> int | None:
        """Old bots return StatusCode, new bots code; an error in either counts."""
        values = [response.payload.get(name) for name in ("code", "StatusCode")]
        codes = [value for value in values if type(value) is int]
        return next(filter(None, codes), 0) if codes else None

    def known_error(self, code: int, response: WebhookResponse) -> KnownError | None:
        if code == INVALID_REQUEST and "too many" in response.text.lower():
            code = RATE_LIMITED
        return error_table(self.PRODUCT).get(code)


def signature(timestamp: str, secret: str) -> str:
    """Sign as the guide says: the key is the time in seconds and the secret, the text is empty."""
    key = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.digest(key, b"", hashlib.sha256)).decode("ascii")
