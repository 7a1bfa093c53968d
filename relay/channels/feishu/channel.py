"""Posts messages to a custom bot in a Feishu or Lark group as an interactive card.

Source: open.feishu.cn, "Custom bot usage guide" (address, signature, errors, 20 KB, 100 a minute
and 5 a second) and the card's JSON 1.0 structure, which every custom bot takes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar

from pydantic import Field, SecretStr

from relay.channels.card import Card, Fact, Link, shrink_to_fit
from relay.channels.card_texts import Tone
from relay.channels.group_robot import GroupRobot, Keyword, RobotSettings, encode
from relay.channels.group_robot_layout import bracketed, heading, row, with_keyword
from relay.channels.known_errors import KnownError, KnownErrors, busy, gone, limited, misread
from relay.channels.markdown_escape import escape_markdown
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.model import Json, Localized
from relay.outbound.webhook import WebhookResponse

LONGEST_BODY = 20_000
"""Bytes of a request: the guide says 20 KB, this is the smaller reading of it."""

_ROOM_FOR_SIGNATURE = 120
_HALF_A_ROW = 18
"""Columns of a phone's screen that half a row has; a Chinese character takes two."""

_COLOURS: Mapping[Tone, str] = {
    "good": "green",
    "bad": "red",
    "neutral": "grey",
    "warning": "orange",
}


class FeishuSettings(RobotSettings):
    """What a custom bot needs. The bot's own security settings say which of secret and keyword."""

    HOST: ClassVar[str] = "open.feishu.cn"

    secret: SecretStr = Field(
        SecretStr(""), description="the key of the bot's signature verification; empty: unsigned"
    )
    keyword: Keyword = Field("", description="a custom keyword that the bot demands")
    # 100 a minute and 5 a second are allowed: one a second keeps to both at any moment.
    rate: Rate | None = Field(
        RateLimit(1, timedelta(seconds=1)),
        description='the most messages in a time, such as "1/1s"; the service allows 5 a second '
        "and 100 a minute",
    )


def refusals(product: Localized) -> KnownErrors:
    """The errors of custom bots that we know."""
    too_fast = limited(product, timedelta(minutes=1))
    return {
        9499: misread(product),
        11232: too_fast,
        11233: too_fast,
        99991400: too_fast,
        2200: busy(product),
        19001: gone(
            product,
            f"{product.en} does not know this webhook address",
            f"{product.zh}提示该 Webhook 地址无效",
        ),
        19002: misread(product),
        19021: KnownError(
            "sign",
            Localized(
                f"{product.en} says that the signature is wrong, or our clock off by an hour",
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
                f"The bot takes no messages from our IP address, {product.en} says",
                f"本机的出口 IP 不在{product.zh}机器人的白名单中",
            ),
            Localized(
                "Add the address that this relay goes out by to the bot's IP allowlist, "
                "then retrigger the message.",
                "请将 Relay 的出口 IP 加入机器人的“IP 白名单”，然后重新触发该消息。",
            ),
        ),
        19024: KnownError(
            "keyword",
            Localized(
                "The bot takes only messages with one of its keywords",
                f"消息中没有{product.zh}机器人要求的自定义关键词",
            ),
            Localized(
                "Write one of the bot's custom keywords into the channel's keyword, "
                "then retrigger the message.",
                "请将机器人的任一自定义关键词填入频道的 keyword，然后重新触发该消息。",
            ),
        ),
        19036: misread(product),
    }


class Channel(GroupRobot):
    """One custom bot."""

    Settings: ClassVar[type[ChannelSettings]] = FeishuSettings
    PRODUCT: ClassVar[Localized] = Localized("Feishu", "飞书")
    REFUSALS: ClassVar[KnownErrors] = refusals(PRODUCT)

    def laid_out(self, shown: Card) -> Json:
        told = self.settings
        room = LONGEST_BODY - _ROOM_FOR_SIGNATURE
        return render(
            shrink_to_fit(
                shown, lambda one: len(encode(render(one, told.language, told.keyword))) <= room
            ),
            told.language,
            told.keyword,
        )

    def secrets(self) -> tuple[str, ...]:
        return (self.settings.secret.get_secret_value(),)

    def signed(self, body: Json) -> tuple[Json, dict[str, str]]:
        secret = self.settings.secret.get_secret_value()
        if not secret:
            return body, {}
        timestamp = str(int(self._clock().timestamp()))
        return {"timestamp": timestamp, "sign": signature(timestamp, secret), **body}, {}

    def code(self, answer: WebhookResponse) -> int | None:
        """Old bots say StatusCode, new ones code; an error in either counts."""
        told = [answer.payload.get(name) for name in ("code", "StatusCode")]
        codes = [code for code in told if isinstance(code, int) and not isinstance(code, bool)]
        return next(filter(None, codes), 0) if codes else None

    def meaning(self, code: int, answer: WebhookResponse) -> KnownError | None:
        if code == 9499 and "too many" in answer.text.lower():
            return self.REFUSALS[11232]
        return self.REFUSALS.get(code)


def signature(timestamp: str, secret: str) -> str:
    """As the guide has it: the time in seconds and the secret are the key, nothing is signed."""
    key = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.digest(key, b"", hashlib.sha256)).decode("ascii")


def render(shown: Card, language: str, keyword: str = "") -> Json:
    """The card as an interactive one of JSON 1.0. Names of functions and objects stand as text."""
    title = heading(shown, language)
    elements: list[Json] = []
    if shown.facts:
        elements.append({"tag": "div", "fields": [_field(fact) for fact in shown.facts]})
    if shown.problem:
        elements.append(_text(f"{_fact(shown.problem)}{bracketed(shown.code, language)}"))
    if shown.advice:
        elements.append(_text(_fact(shown.advice)))
    if shown.lines:
        told = [row(line, language) for line in shown.lines]
        elements.append(_text("\n".join(filter(None, [*told, escape_markdown(shown.more)]))))
    if shown.links:
        elements.append({"tag": "action", "actions": [_button(link) for link in shown.links]})
    footer = with_keyword(shown.footer, keyword, title)
    elements.append({"tag": "note", "elements": [{"tag": "plain_text", "content": footer}]})
    return {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {
                "template": _COLOURS[shown.tone],
                "title": {"tag": "plain_text", "content": title},
            },
            "elements": elements,
        },
    }


def _text(content: str) -> Json:
    return {"tag": "div", "text": {"tag": "lark_md", "content": content}}


def _field(fact: Fact) -> Json:
    return {
        "is_short": _columns(fact.value) <= _HALF_A_ROW,
        "text": {"tag": "lark_md", "content": _fact(fact)},
    }


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _fact(fact: Fact) -> str:
    return f"**{fact.label}**\n{escape_markdown(fact.value)}"


def _button(link: Link) -> Json:
    return {
        "tag": "button",
        "text": {"tag": "plain_text", "content": link.label},
        "url": link.url,
        "type": "default",
    }
