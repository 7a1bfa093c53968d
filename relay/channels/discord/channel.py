"""Posts messages to a Discord channel through its webhook, as an embed.

Source: the documentation of Discord for developers, "Webhook Resource" (Execute Webhook), "Message
Resource" (embed limits), "Rate Limits", "Opcodes and Status Codes".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import Field

import relay.channels.contract
from relay.channels.card import plain
from relay.channels.contract import Message, Posted
from relay.channels.discord.card import render
from relay.config.load import ChannelSettings
from relay.config.units import Rate, RateLimit
from relay.errors import PermanentFailure, RelayError, TemporaryFailure, Throttled
from relay.model import Json, Localized
from relay.outbound.responses import LONGEST_WAIT
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl, WebhookResponse, refusal

Words = tuple[Localized, Localized]

_HOSTS = ("discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com")

_NEW_URL = Localized(
    "Make a new webhook in Discord (the channel's settings, Integrations, Webhooks), put its URL "
    "into the channel's url, and retrigger the message.",
    "请在 Discord 的频道设置“整合 - Webhook”中新建 Webhook，将其 URL 填入频道的 url，"
    "然后重新触发该消息。",
)
_REPORT = Localized(
    "This is a fault of Relay: please report it with the delivery's id.",
    "这是 Relay 的缺陷，请附上投递编号反馈给我们。",
)
_UNREADABLE: Words = (
    Localized("Discord could not read our message", "Discord 无法解析该消息"),
    _REPORT,
)
_FORBIDDEN: Words = (
    Localized("Discord does not let the webhook post there", "Discord 不允许该 Webhook 在此发言"),
    Localized(
        "Ask who administers the Discord server to allow it, or use another channel.",
        "请联系 Discord 服务器管理员放行，或改用其他频道。",
    ),
)
_REFUSALS: Mapping[int, Words] = {
    10003: (
        Localized(
            "The webhook's Discord channel is gone", "该 Webhook 对应的 Discord 频道已不存在"
        ),
        _NEW_URL,
    ),
    10015: (
        Localized(
            "Discord does not know this webhook: it was deleted", "该 Discord Webhook 已被删除"
        ),
        _NEW_URL,
    ),
    50027: (
        Localized(
            "Discord says that the webhook's URL is wrong", "Discord 称该 Webhook 的 URL 有误"
        ),
        Localized(
            "Copy the webhook's whole URL from Discord into the channel's url, and retrigger "
            "the message.",
            "请从 Discord 完整复制该 Webhook 的 URL，填入频道的 url，然后重新触发该消息。",
        ),
    ),
    50001: _FORBIDDEN,
    50013: _FORBIDDEN,
    50006: _UNREADABLE,
    50035: _UNREADABLE,
    50109: _UNREADABLE,
    40005: (
        Localized("The message is too large for Discord", "该消息超出 Discord 的大小限制"),
        _REPORT,
    ),
    50083: (
        Localized("The Discord thread is archived", "该 Discord 子区已归档"),
        Localized(
            "Open it, or take thread_id out of the channel's url; then retrigger the message.",
            "请重新打开该子区，或从频道的 url 中去掉 thread_id，然后重新触发该消息。",
        ),
    ),
    220001: (
        Localized(
            "The webhook is a forum's: each message needs a thread there",
            "该 Webhook 属于论坛频道，消息必须发到子区中",
        ),
        Localized(
            "Add ?thread_id= and a thread's id to the channel's url, or use the webhook of a text "
            "channel; then retrigger the message.",
            "请在频道的 url 末尾加上 ?thread_id=子区 ID，或改用文字频道的 Webhook，"
            "然后重新触发该消息。",
        ),
    ),
}
"""Discord's error codes after which waiting does not help."""

_OTHER: Words = (
    Localized("Discord refused the message", "Discord 拒绝了该消息"),
    Localized(
        "Its answer is kept with the attempt. Check the channel's url, then retrigger the message.",
        "Discord 的应答保存在该次尝试中。请检查频道的 url，然后重新触发该消息。",
    ),
)
_AGAIN = Localized("Relay posts the message again by itself.", "Relay 会自动重新发送。")


class DiscordSettings(ChannelSettings):
    """What a webhook needs."""

    url: PostUrl = Field(
        description="the webhook's URL, which is its credential; ?thread_id=... posts to a thread"
    )
    rate: Rate | None = Field(
        RateLimit(15, timedelta(minutes=1)),
        description='the most messages in a time, such as "20/1m"; Discord takes about 30 a minute',
    )

    def advise(self) -> Iterator[tuple[str, str]]:
        split = urlsplit(self.url.get_secret_value())
        if split.hostname not in _HOSTS:
            yield "its url is not Discord's", f"Webhooks are at https://{_HOSTS[0]}/api/webhooks/."
        if split.path.rstrip("/").endswith(("/slack", "/github")):
            yield "its url ends as one for other programs' messages", "Cut /slack or /github off."


class Channel(relay.channels.contract.Channel):
    """One webhook. A webhook cannot reply, so there are no threads; Discord keeps no ids of ours,
    so a repeat is a second message with the same delivery in its footer."""

    Settings: ClassVar[type[ChannelSettings]] = DiscordSettings

    def __init__(self, name: str, settings: DiscordSettings, outbound: HttpClientFactory) -> None:
        super().__init__(name, settings, outbound)
        self._poster = Poster(outbound, _confirmed(settings.url.get_secret_value()))

    def preview(self, message: Message) -> Json:
        """What is posted."""
        return render(self.build_card(message))

    def post(self, message: Message) -> Posted:
        """Success is the message that was made; 204, where something between dropped our `wait`."""
        told = json.dumps(self.preview(message)).encode("ascii")
        answer = self._poster.post(told, {"content-type": "application/json"})
        if answer.status == 204:
            return Posted(answer.summary)
        if answer.status == 200 and answer.payload.get("id"):
            return Posted(f"200 message {plain(str(answer.payload['id']), 40)}")
        raise _failure(answer)

    def ready(self) -> str:
        """Whether Discord knows the webhook. Changes nothing."""
        answer = self._poster.get()
        if answer.status == 200 and answer.payload.get("channel_id"):
            return f"the webhook {plain(str(answer.payload.get('name')), 80)} is there"
        raise _failure(answer)

    def close(self) -> None:
        self._poster.close()


def _confirmed(url: str) -> str:
    """The URL with `wait`: without it a message that could not be kept is answered as a success."""
    split = urlsplit(url)
    asked = dict(parse_qsl(split.query)) | {"wait": "true"}
    return split._replace(query=urlencode(asked)).geturl()


def _failure(answer: WebhookResponse) -> RelayError:
    code, said = answer.payload.get("code"), answer.payload
    if answer.status == 429 and "retry_after" in said:
        return _busy(answer)
    if answer.status == 200:
        return _not_discord(answer)
    if isinstance(code, int) and code in _REFUSALS:
        return PermanentFailure(f"discord.{code}", *_REFUSALS[code], answer=answer.summary)
    # Discord restricts who goes on asking after these; a 403 without a code is Cloudflare's.
    if isinstance(code, int) and answer.status in (400, 401, 403, 404, 405, 413):
        return PermanentFailure("discord.refused", *_OTHER, answer=answer.summary)
    return refusal(answer)


def _busy(answer: WebhookResponse) -> RelayError:
    wait: Any = answer.payload["retry_after"]
    asked = isinstance(wait, int | float) and not isinstance(wait, bool) and wait > 0
    everywhere = answer.payload.get("global") is True
    message = (
        Localized(
            "Discord asks this whole network address to wait", "Discord 要求本机网络地址稍后再发"
        )
        if everywhere
        else Localized("Discord asks us to wait", "Discord 要求稍后再发")
    )
    return Throttled(
        "discord.busy_everywhere" if everywhere else "discord.busy",
        message,
        _AGAIN,
        answer=answer.summary,
        # In fractions of a second, where the header is rounded.
        retry_after=timedelta(seconds=min(wait, LONGEST_WAIT.total_seconds()))
        if asked
        else answer.retry_after,
    )


def _not_discord(answer: WebhookResponse) -> RelayError:
    return TemporaryFailure(
        "discord.not_ok",
        Localized(
            "The url answers 200, but not with the message that Discord made",
            "该 url 返回了 200，但内容不是 Discord 创建的消息",
        ),
        Localized(
            "Check that the channel's url is Discord's and that no proxy answers in its place; "
            "Relay tries again meanwhile.",
            "请检查频道的 url 是否为 Discord 地址，以及是否有代理代为应答；其间 Relay 会继续重试。",
        ),
        answer=answer.summary,
    )
