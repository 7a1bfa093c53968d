"""Error codes of the custom bots of Feishu and Lark.

Source: open.feishu.cn, "Custom bot usage guide".
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from relay.channels.known_errors import (
    KnownError,
    busy,
    invalid_message,
    missing_keyword,
    rate_limited,
    webhook_removed,
)
from relay.model import Localized

INVALID_REQUEST = 9499
RATE_LIMITED = 11232


@cache
def error_table(product: Localized) -> dict[int, KnownError]:
    """Return the known error codes of `product`, Feishu or Lark."""
    too_fast = rate_limited(product, timedelta(minutes=1))
    return {
        INVALID_REQUEST: invalid_message(product),
        RATE_LIMITED: too_fast,
        11233: too_fast,
        99991400: too_fast,
        2200: busy(product),
        19001: webhook_removed(
            product,
            f"{product.en} does not know this webhook address",
            f"{product.zh}提示该 Webhook 地址无效",
        ),
        19002: invalid_message(product),
        19021: KnownError(
            "sign",
            Localized(
                f"{product.en} reports a wrong signature, or a clock that is off by over an hour",
                f"签名校验失败：签名不匹配，或本机时间与{product.zh}相差超过 1 小时",
            ),
            Localized(
                "Copy the key of the bot's signature verification into the channel's secret, "
                "check this machine's clock, then retrigger the message.",
                "请将机器人“签名校验”中的密钥复制到频道的 secret，并检查本机时间，"
                "然后重新触发该消息。",
            ),
        ),
        19022: KnownError(
            "ip",
            Localized(
                f"The IP allowlist of the {product.en} bot does not contain this server",
                f"本机的出口 IP 不在{product.zh}机器人的白名单中",
            ),
            Localized(
                "Add the outgoing IP address of Relay to the bot's IP allowlist, "
                "then retrigger the message.",
                "请将 Relay 的出口 IP 加入机器人的“IP 白名单”，然后重新触发该消息。",
            ),
        ),
        19024: missing_keyword(product, "bot"),
        19036: invalid_message(product),
    }
