"""Error responses of Discord's webhooks.

Source: the documentation of Discord for developers, "Rate Limits", "Opcodes and Status Codes".
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from relay.channels.known_errors import (
    REPORT_BUG,
    explain,
    refused,
    throttled,
    unexpected_response,
)
from relay.errors import RelayError, Throttled
from relay.model import Localized
from relay.outbound.responses import LONGEST_WAIT
from relay.outbound.webhook import RETRIED, WebhookResponse, refusal

_PRODUCT = Localized("Discord", " Discord ")
_NEW_URL = Localized(
    "Create a new webhook in Discord (channel settings, Integrations, Webhooks), copy its URL "
    "into the channel's url, then retrigger the message.",
    "请在 Discord 的频道设置“整合 - Webhook”中新建 Webhook，将其 URL 填入频道的 url，"
    "然后重新触发该消息。",
)

ERRORS = {
    **explain(
        "10003",
        Localized(
            "The Discord channel of the webhook was deleted", "该 Webhook 对应的 Discord 频道已删除"
        ),
        _NEW_URL,
    ),
    **explain(
        "10015",
        Localized("The Discord webhook was deleted", "该 Discord Webhook 已被删除"),
        _NEW_URL,
    ),
    **explain(
        "50027",
        Localized("The URL of the Discord webhook is wrong", "该 Discord Webhook 的 URL 有误"),
        Localized(
            "Copy the whole webhook URL from Discord into the channel's url, then retrigger the "
            "message.",
            "请从 Discord 完整复制该 Webhook 的 URL，填入频道的 url，然后重新触发该消息。",
        ),
    ),
    **explain(
        "50001 50013",
        Localized(
            "Discord does not allow the webhook to post there", "Discord 不允许该 Webhook 在此发言"
        ),
        Localized(
            "Ask an administrator of the Discord server for permission, or use another channel.",
            "请联系 Discord 服务器管理员放行，或改用其他频道。",
        ),
    ),
    **explain(
        "50006 50035 50109",
        Localized("Discord could not parse the message", "Discord 无法解析该消息"),
        REPORT_BUG,
    ),
    **explain(
        "40005",
        Localized("The message is too large for Discord", "该消息超出 Discord 的大小限制"),
        REPORT_BUG,
    ),
    **explain(
        "50083",
        Localized("The Discord thread is archived", "该 Discord 子区已归档"),
        Localized(
            "Unarchive the thread, or remove thread_id from the channel's url; then retrigger the "
            "message.",
            "请重新打开该子区，或从频道的 url 中去掉 thread_id，然后重新触发该消息。",
        ),
    ),
    **explain(
        "220001",
        Localized(
            "The webhook belongs to a forum, where each message needs a thread",
            "该 Webhook 属于论坛频道，消息必须发到子区中",
        ),
        Localized(
            "Append ?thread_id= and the id of a thread to the channel's url, or use the webhook of "
            "a text channel; then retrigger the message.",
            "请在频道的 url 末尾加上 ?thread_id=子区 ID，或改用文字频道的 Webhook，"
            "然后重新触发该消息。",
        ),
    ),
}
"""Discord's error codes for which a retry does not help."""


def to_error(response: WebhookResponse) -> RelayError:
    """Return the error of a response that is not a success."""
    code = response.payload.get("code")
    if response.status == 429 and "retry_after" in response.payload:
        return _rate_limited(response)
    if response.status == 200:
        return unexpected_response("discord", _PRODUCT, response)
    if isinstance(code, int) and str(code) in ERRORS:
        return ERRORS[str(code)].to_error("discord", response)
    # Discord blocks clients that retry after these. A 403 without a code comes from Cloudflare.
    if isinstance(code, int) and response.status in (400, 401, 403, 404, 405, 413):
        return refused(_PRODUCT).to_error("discord", response)
    return refusal(response)


def _rate_limited(response: WebhookResponse) -> RelayError:
    seconds: Any = response.payload["retry_after"]
    # The body has fractions of a second; the header is rounded.
    if type(seconds) in (int, float) and seconds > 0:
        wait = timedelta(seconds=min(seconds, LONGEST_WAIT.total_seconds()))
        response = replace(response, retry_after=wait)
    if response.payload.get("global") is not True:
        return throttled("discord", _PRODUCT, response)
    return Throttled(
        "discord.busy_everywhere",
        Localized(
            "The Discord rate limit of this server's IP address is reached",
            "本机 IP 地址已触发 Discord 的频率限制",
        ),
        RETRIED,
        answer=response.summary,
        retry_after=response.retry_after,
    )
