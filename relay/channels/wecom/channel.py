"""Posts messages to a group robot of WeCom (Enterprise WeChat) as Markdown.

Source: developer.work.weixin.qq.com, "Configuration of message push (formerly group robots)" and
"Global error codes". A template card would show six facts and no digest, and no card at all
without a public address to lead to: Markdown shows everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from relay.channels.card import Card, Fact, plain, shrink_to_fit
from relay.channels.card_texts import Tone
from relay.channels.group_robot import GroupRobot, RobotSettings
from relay.channels.group_robot_layout import bracketed, colon, markdown_link, row
from relay.channels.known_errors import KnownError, KnownErrors, busy, gone, limited, misread
from relay.channels.markdown_escape import code_span, escape_markdown
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.model import Json, Localized
from relay.outbound.webhook import WebhookResponse

LONGEST_TEXT = 4096
"""Bytes of the Markdown in UTF-8."""

_CUTS = (200, 100, 60, 30)
"""Characters of a value that are shown, the most that fit."""

_BRACKETS = str.maketrans({"[": "［", "]": "］"})

_PRODUCT = Localized("WeCom", "企业微信")

_COLOURS: Mapping[Tone, str] = {
    "good": "info",
    "bad": "warning",
    "neutral": "comment",
    "warning": "warning",
}
"""The three that there are: green, orange-red, grey."""

_REMOVED = gone(
    _PRODUCT,
    "WeCom does not know this webhook address, or the robot was removed from the group",
    "企业微信提示该 Webhook 地址无效，或机器人已被移出群聊",
)

_REFUSALS: KnownErrors = {
    -1: busy(_PRODUCT),
    40008: misread(_PRODUCT),
    40033: misread(_PRODUCT),
    40035: misread(_PRODUCT),
    40058: misread(_PRODUCT),
    44004: misread(_PRODUCT),
    45002: misread(_PRODUCT),
    45009: limited(_PRODUCT, timedelta(minutes=1)),
    45033: limited(_PRODUCT, timedelta(seconds=10)),
    93000: _REMOVED,
    93004: KnownError(
        "stopped",
        Localized("The WeCom robot is switched off", "该企业微信机器人已被停用"),
        Localized(
            "Switch the robot on again in WeCom, then retrigger the message.",
            "请在企业微信中重新启用该机器人，然后重新触发该消息。",
        ),
    ),
    93008: _REMOVED,
}


class WeComSettings(RobotSettings):
    """What a group robot needs: its address holds its key."""

    HOST: ClassVar[str] = "qyapi.weixin.qq.com"

    # 20 a minute, and twice an allowance may fall into one minute.
    rate: Rate | None = Field(
        RateLimit(10, timedelta(minutes=1)),
        description='the most messages in a time, such as "10/1m"; the service takes 20 in any '
        "minute",
    )


class Channel(GroupRobot):
    """One group robot."""

    Settings: ClassVar[type[ChannelSettings]] = WeComSettings
    PRODUCT: ClassVar[Localized] = _PRODUCT
    REFUSALS: ClassVar[KnownErrors] = _REFUSALS

    def laid_out(self, shown: Card) -> Json:
        return render(shown, self.settings.language)

    def meaning(self, code: int, answer: WebhookResponse) -> KnownError | None:
        if code == 93000 and "max length" in answer.text.lower():
            return self.REFUSALS[40058]
        return self.REFUSALS.get(code)


def render(shown: Card, language: str) -> Json:
    """The card as Markdown of at most 4096 bytes: long values are cut before anything goes."""

    def fits(one: Card) -> bool:
        return len(_text(one, language).encode()) <= LONGEST_TEXT

    shorter = (_cut(shown, longest) for longest in _CUTS)
    chosen = next((one for one in shorter if fits(one)), _cut(shown, _CUTS[-1]))
    return {
        "msgtype": "markdown",
        "markdown": {"content": _text(shrink_to_fit(chosen, fits), language)},
    }


def _text(shown: Card, language: str) -> str:
    return "\n".join(_rows(shown, language))


def _rows(shown: Card, language: str) -> Iterator[str]:
    title = f'<font color="{_COLOURS[shown.tone]}">{escape_markdown(shown.title)}</font>'
    name = f"{colon(language)}{escape_markdown(shown.name)}" if shown.name else ""
    yield f"### {shown.sign} {title}{name}"
    for fact in shown.facts:
        label = f'<font color="comment">{fact.label}{colon(language)}</font>'
        yield f"> {label}{_value(fact)}"
    if shown.facts:
        yield ""  # else what follows would be taken for more of the quotation
    if shown.problem:
        yield f"{_sentence(shown.problem, language)}{bracketed(shown.code, language)}"
    if shown.advice:
        yield _sentence(shown.advice, language)
    for line in shown.lines:
        yield row(line, language)
    if shown.more:
        yield escape_markdown(shown.more)
    if shown.links:
        yield "　".join(map(markdown_link, shown.links))
    yield f'<font color="comment">{escape_markdown(shown.footer)}</font>'


def _sentence(fact: Fact, language: str) -> str:
    return f"**{fact.label}**{colon(language)}{escape_markdown(fact.value)}"


def _value(fact: Fact) -> str:
    told = escape_markdown(fact.value)
    if fact.sentence or (told == fact.value and "_" not in told):
        return told
    # As code it can be copied as it is: where marks are not taken for slants, and none was
    # replaced. But WeCom does not say that it finds no link in code.
    return code_span(fact.value.translate(_BRACKETS))


def _cut(shown: Card, longest: int) -> Card:
    def cut(fact: Fact | None) -> Fact | None:
        # Sentences may be longer: what to do next is what the card is for.
        return replace(fact, value=plain(fact.value, 3 * longest)) if fact else None

    return replace(
        shown,
        title=plain(shown.title, longest),
        name=plain(shown.name, longest),
        facts=tuple(replace(fact, value=plain(fact.value, longest)) for fact in shown.facts),
        problem=cut(shown.problem),
        advice=cut(shown.advice),
        code=plain(shown.code, longest) if shown.code else None,
        lines=tuple(
            replace(line, name=plain(line.name, longest), text=plain(line.text, longest))
            for line in shown.lines
        ),
        footer=plain(shown.footer, longest),
    )
