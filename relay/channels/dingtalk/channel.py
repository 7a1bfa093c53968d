"""Posts messages to a custom robot in a DingTalk group as an ActionCard.

Source: open.dingtalk.com, "Custom robot access", "Robot security settings" and the errors of
"Send group messages by a custom robot"; 300005 and 130101 as others measured them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import ClassVar

from pydantic import Field, SecretStr

from relay.channels.card import Card, Fact, shrink_to_fit
from relay.channels.card_texts import Tone
from relay.channels.group_robot import GroupRobot, Keyword, RobotSettings, encode
from relay.channels.group_robot_layout import bracketed, colon, heading, row, with_keyword
from relay.channels.known_errors import KnownError, KnownErrors, busy, gone, limited, misread
from relay.channels.markdown_escape import escape_markdown
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.model import Json, Localized
from relay.outbound.webhook import WebhookResponse

LONGEST_BODY = 20_000
"""Bytes of a request: "message too long, exceed 20000 bytes"."""

LONGEST_TITLE = 100
"""Characters of what stands in the list of chats and in a phone's notice."""

_PRODUCT = Localized("DingTalk", "钉钉")
_SECURITY = 310000

_COLOURS: Mapping[Tone, str] = {
    "good": "#1A9C4B",
    "bad": "#D93026",
    "neutral": "#8A8F99",
    "warning": "#E8830C",
}

_LIMITED = limited(_PRODUCT, timedelta(minutes=10))
_GONE = gone(_PRODUCT, "DingTalk does not know this webhook's token", "钉钉提示 access_token 无效")
_CONTENT = KnownError(
    "content",
    Localized("DingTalk refused the message for what it says", "消息未通过钉钉的内容安全检测"),
    Localized(
        "Look for words, names or addresses in the delivery that DingTalk may object to; "
        "words of your own under channels.NAME.words can replace them.",
        "请检查投递中是否有可能被钉钉拦截的词语、名称或链接；可通过 channels.NAME.words 改写文案。",
    ),
)

_REFUSALS: KnownErrors = {
    -1: busy(_PRODUCT),
    40035: misread(_PRODUCT),
    43004: misread(_PRODUCT),
    130101: _LIMITED,
    300001: _GONE,
    300005: _GONE,
    400013: gone(_PRODUCT, "The DingTalk group was dissolved", "该钉钉群已被解散"),
    400101: _GONE,
    400102: KnownError(
        "stopped",
        Localized("The DingTalk robot is switched off", "该钉钉机器人已被停用"),
        Localized(
            "Switch the robot on in the group's settings, then retrigger the message.",
            "请在群设置中重新启用该机器人，然后重新触发该消息。",
        ),
    ),
    400105: misread(_PRODUCT),
    400106: gone(_PRODUCT, "The DingTalk robot does not exist", "该钉钉机器人不存在"),
    410100: _LIMITED,
    430101: _CONTENT,
    430102: _CONTENT,
    430103: _CONTENT,
    430104: _CONTENT,
    460101: misread(_PRODUCT),
    660026: _LIMITED,
}

_KEYWORD = KnownError(
    "keyword",
    Localized(
        "The robot takes only messages with one of its keywords",
        "消息中没有钉钉机器人要求的自定义关键词",
    ),
    Localized(
        "Write one of the robot's custom keywords into the channel's keyword, "
        "then retrigger the message.",
        "请将机器人的任一自定义关键词填入频道的 keyword，然后重新触发该消息。",
    ),
)
_SIGN = KnownError(
    "sign",
    Localized(
        "DingTalk says that the signature or its time is wrong",
        "钉钉加签校验失败：签名不匹配，或时间戳无效",
    ),
    Localized(
        "Copy the robot's signing key (SEC...) into the channel's secret, check this machine's "
        "clock, then retrigger the message.",
        "请将机器人“加签”中以 SEC 开头的密钥复制到频道的 secret，并检查本机时间，"
        "然后重新触发该消息。",
    ),
)
_IP = KnownError(
    "ip",
    Localized(
        "The robot takes no messages from our IP address, DingTalk says",
        "本机的出口 IP 不在钉钉机器人的白名单中",
    ),
    Localized(
        "Add the address that this relay goes out by to the robot's IP ranges, "
        "then retrigger the message.",
        "请将 Relay 的出口 IP 加入机器人的“IP 地址（段）”，然后重新触发该消息。",
    ),
)
_UNSAFE = KnownError(
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
_SAID = (
    (_KEYWORD, ("keyword", "关键词")),
    (_SIGN, ("sign", "timestamp", "签名", "时间戳")),
    (_IP, ("whitelist", "ip ", "白名单")),
)
"""310000 is three errors in one: only its words, of two generations, tell them apart."""


class DingTalkSettings(RobotSettings):
    """What a custom robot needs. Its own security settings say which of secret and keyword."""

    HOST: ClassVar[str] = "oapi.dingtalk.com"

    secret: SecretStr = Field(
        SecretStr(""), description="the robot's signing key, SEC...; empty: unsigned"
    )
    keyword: Keyword = Field("", description="a custom keyword that the robot demands")
    # 20 a minute, else silence for ten. Twice an allowance may fall into one minute.
    rate: Rate | None = Field(
        RateLimit(10, timedelta(minutes=1)),
        description='the most messages in a time, such as "10/1m"; the service takes 20 in any '
        "minute, and after more of them none for ten minutes",
    )


class Channel(GroupRobot):
    """One custom robot."""

    Settings: ClassVar[type[ChannelSettings]] = DingTalkSettings
    PRODUCT: ClassVar[Localized] = _PRODUCT
    REFUSALS: ClassVar[KnownErrors] = _REFUSALS

    def laid_out(self, shown: Card) -> Json:
        told = self.settings

        def fits(one: Card) -> bool:
            return len(encode(render(one, told.language, told.keyword))) <= LONGEST_BODY

        return render(shrink_to_fit(shown, fits), told.language, told.keyword)

    def secrets(self) -> tuple[str, ...]:
        return (self.settings.secret.get_secret_value(),)

    def signed(self, body: Json) -> tuple[Json, dict[str, str]]:
        secret = self.settings.secret.get_secret_value()
        if not secret:
            return body, {}
        timestamp = str(int(self._clock().timestamp() * 1000))
        return body, {"timestamp": timestamp, "sign": signature(timestamp, secret)}

    def meaning(self, code: int, answer: WebhookResponse) -> KnownError | None:
        if code != _SECURITY:
            return self.REFUSALS.get(code)
        said = str(answer.payload.get("errmsg", "")).lower()
        return next((one for one, words in _SAID if any(word in said for word in words)), _UNSAFE)


def signature(timestamp: str, secret: str) -> str:
    """Over the time in milliseconds and the secret, with the secret as the key; base64, which the
    URL still has to quote."""
    signed = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode("ascii")


def render(shown: Card, language: str, keyword: str = "") -> Json:
    """The card as an ActionCard with its links as buttons; without links, as Markdown.

    Nobody is mentioned: that takes `at`, and names in the text besides.
    """
    title = _title(shown, language)
    text = "\n\n".join(_blocks(shown, language, keyword))
    if not shown.links:
        return {"msgtype": "markdown", "markdown": {"title": title, "text": text}, "at": {}}
    card: Json = {"title": title, "text": text}
    if len(shown.links) == 1:
        [link] = shown.links
        card |= {"singleTitle": link.label, "singleURL": link.url}
    else:
        buttons = [{"title": link.label, "actionURL": link.url} for link in shown.links]
        card |= {"btnOrientation": "1", "btns": buttons}
    return {"msgtype": "actionCard", "actionCard": card, "at": {}}


def _blocks(shown: Card, language: str, keyword: str) -> Iterator[str]:
    title = f"<font color={_COLOURS[shown.tone]}>{escape_markdown(shown.title)}</font>"
    name = f"{colon(language)}{escape_markdown(shown.name)}" if shown.name else ""
    first = f"### {shown.sign} {title}{name}"
    yield first
    if shown.facts:
        yield "\n".join(f"- {_fact(fact, language)}" for fact in shown.facts)
    if shown.problem:
        yield f"{_fact(shown.problem, language)}{bracketed(shown.code, language)}"
    if shown.advice:
        yield _fact(shown.advice, language)
    if shown.lines:
        yield "\n".join(f"- {row(line, language)}" for line in shown.lines)
    if shown.more:
        yield escape_markdown(shown.more)
    yield f"> {with_keyword(escape_markdown(shown.footer), keyword, first)}"


def _title(shown: Card, language: str) -> str:
    title = heading(shown, language)
    return title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"


def _fact(fact: Fact, language: str) -> str:
    return f"**{fact.label}**{colon(language)}{escape_markdown(fact.value)}"
