"""Error codes of DingTalk's custom robots.

Source: open.dingtalk.com, the errors of "Send group messages by a custom robot"; 300005 and 130101
are not documented there, but observed by others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from relay.channels.known_errors import (
    KnownError,
    busy,
    invalid_message,
    missing_keyword,
    rate_limited,
    webhook_removed,
)
from relay.model import Localized

PRODUCT = Localized("DingTalk", "钉钉")

SECURITY_SETTINGS = 310000

_LIMITED = rate_limited(PRODUCT, timedelta(minutes=10))
_REMOVED = webhook_removed(
    PRODUCT, "DingTalk does not know this webhook's token", "钉钉提示 access_token 无效"
)
_CONTENT = KnownError(
    "content",
    Localized("DingTalk's content filter rejected the message", "消息未通过钉钉的内容安全检测"),
    Localized(
        "Check the delivery for words, names or addresses that DingTalk may block; templates under "
        "channels.NAME.words can replace texts.",
        "请检查投递中是否有可能被钉钉拦截的词语、名称或链接；可通过 channels.NAME.words 改写文案。",
    ),
)

ERRORS: Mapping[int, KnownError] = {
    -1: busy(PRODUCT),
    40035: invalid_message(PRODUCT),
    43004: invalid_message(PRODUCT),
    130101: _LIMITED,
    300001: _REMOVED,
    300005: _REMOVED,
    400013: webhook_removed(PRODUCT, "The DingTalk group was dissolved", "该钉钉群已被解散"),
    400101: _REMOVED,
    400102: KnownError(
        "stopped",
        Localized("The DingTalk robot is disabled", "该钉钉机器人已被停用"),
        Localized(
            "Enable the robot in the group's settings, then retrigger the message.",
            "请在群设置中重新启用该机器人，然后重新触发该消息。",
        ),
    ),
    400105: invalid_message(PRODUCT),
    400106: webhook_removed(PRODUCT, "The DingTalk robot does not exist", "该钉钉机器人不存在"),
    410100: _LIMITED,
    430101: _CONTENT,
    430102: _CONTENT,
    430103: _CONTENT,
    430104: _CONTENT,
    460101: invalid_message(PRODUCT),
    660026: _LIMITED,
}

KEYWORD = missing_keyword(PRODUCT, "robot")
SIGNATURE = KnownError(
    "sign",
    Localized(
        "DingTalk reports a wrong signature or timestamp",
        "钉钉加签校验失败：签名不匹配，或时间戳无效",
    ),
    Localized(
        "Copy the robot's signing key (SEC...) into the channel's secret, check this machine's "
        "clock, then retrigger the message.",
        "请将机器人“加签”中以 SEC 开头的密钥复制到频道的 secret，并检查本机时间，"
        "然后重新触发该消息。",
    ),
)
IP_ADDRESS = KnownError(
    "ip",
    Localized(
        "The IP ranges of the DingTalk robot do not contain this server",
        "本机的出口 IP 不在钉钉机器人的白名单中",
    ),
    Localized(
        "Add the outgoing IP address of Relay to the robot's IP ranges, "
        "then retrigger the message.",
        "请将 Relay 的出口 IP 加入机器人的“IP 地址（段）”，然后重新触发该消息。",
    ),
)
SECURITY = KnownError(
    "security",
    Localized(
        "The message does not meet the DingTalk robot's security settings",
        "消息未通过钉钉机器人的安全设置",
    ),
    Localized(
        "Compare the robot's security settings (keyword, signature, IP addresses) with the "
        "channel's keyword and secret, then retrigger the message.",
        "请对照机器人的安全设置（自定义关键词、加签、IP 地址）检查频道的 keyword 和 secret，"
        "然后重新触发该消息。",
    ),
)
SECURITY_WORDS = (
    (KEYWORD, ("keyword", "关键词")),
    (SIGNATURE, ("sign", "timestamp", "签名", "时间戳")),
    (IP_ADDRESS, ("whitelist", "ip ", "白名单")),
)
"""310000 stands for three errors: only words in the text, old and new, distinguish them."""
