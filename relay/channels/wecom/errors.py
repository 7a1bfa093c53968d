"""Error codes of WeCom's group robots.

Source: developer.work.weixin.qq.com, "Global error codes".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from relay.channels.known_errors import (
    KnownError,
    busy,
    invalid_message,
    rate_limited,
    webhook_removed,
)
from relay.model import Localized

PRODUCT = Localized("WeCom", "企业微信")

WEBHOOK_INVALID = 93000
TOO_LONG = 40058

_REMOVED = webhook_removed(
    PRODUCT,
    "WeCom does not know this webhook address, or the robot was removed from the group",
    "企业微信提示该 Webhook 地址无效，或机器人已被移出群聊",
)

ERRORS: Mapping[int, KnownError] = {
    -1: busy(PRODUCT),
    40008: invalid_message(PRODUCT),
    40033: invalid_message(PRODUCT),
    40035: invalid_message(PRODUCT),
    TOO_LONG: invalid_message(PRODUCT),
    44004: invalid_message(PRODUCT),
    45002: invalid_message(PRODUCT),
    45009: rate_limited(PRODUCT, timedelta(minutes=1)),
    45033: rate_limited(PRODUCT, timedelta(seconds=10)),
    WEBHOOK_INVALID: _REMOVED,
    93004: KnownError(
        "stopped",
        Localized("The WeCom robot is disabled", "该企业微信机器人已被停用"),
        Localized(
            "Enable the robot in WeCom, then retrigger the message.",
            "请在企业微信中重新启用该机器人，然后重新触发该消息。",
        ),
    ),
    93008: _REMOVED,
}
