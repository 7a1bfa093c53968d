"""Posts messages to a Slack incoming webhook as Block Kit.

Source: docs.slack.dev, "Sending messages using incoming webhooks", "Block Kit" and "Formatting
message text"; the error words also from the changelog of 2016-05-17.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

import relay.channel
from relay.card import Card, Fact, Line, Link
from relay.channel import Message, Posted
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Json, Text
from relay.outbound import Outbound
from relay.posting import Answer, Poster, PostUrl, refusal
from relay.settings import ChannelSettings

LONGEST_HEADER = 150
LONGEST_TEXT = 3000
LONGEST_FIELD = 2000
MOST_FIELDS = 10
LINES_IN_SECTION = 4

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_HEADING = str.maketrans({"&": "＆", "<": "‹", ">": "›"})
_CODE = str.maketrans({"`": "ˋ"})
_MARKUP = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})
_ITALIC = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_EMOJI = re.compile(r":(?=[\w+'-]+:)")
_MENTION = re.compile(r"@(?=\w)")
_BROKEN_ESCAPE = re.compile(r"&[a-z]*$")
_WORD_JOINER = "\u2060"

_NEW_URL = Text(
    "Make a new incoming webhook in Slack and put its URL into the channel's url; "
    "then retrigger the message.",
    "请在 Slack 中新建 Incoming Webhook, 将其 URL 填入频道的 url, 然后重新触发该消息。",
)

_REFUSALS: Mapping[str, tuple[Text, Text]] = {
    "no_service": (
        Text(
            "Slack says that this webhook was removed or is disabled",
            "Slack 称该 Webhook 已被删除或停用",
        ),
        _NEW_URL,
    ),
    "no_service_id": (
        Text("Slack does not know this webhook's URL", "Slack 不认识该 Webhook 的 URL"),
        _NEW_URL,
    ),
    "no_team": (
        Text(
            "Slack does not know the workspace in the webhook's URL",
            "Slack 不认识 Webhook URL 中的工作区",
        ),
        _NEW_URL,
    ),
    "team_disabled": (
        Text("The Slack workspace is disabled", "该 Slack 工作区已被停用"),
        _NEW_URL,
    ),
    "invalid_token": (
        Text("Slack says that the webhook's URL is wrong", "Slack 称该 Webhook 的 URL 有误"),
        _NEW_URL,
    ),
    "channel_not_found": (
        Text("The webhook's Slack channel is gone", "该 Webhook 对应的 Slack 频道已不存在"),
        _NEW_URL,
    ),
    "channel_is_archived": (
        Text("The webhook's Slack channel is archived", "该 Webhook 对应的 Slack 频道已归档"),
        Text(
            "Unarchive the channel in Slack, or make a webhook for another one; "
            "then retrigger the message.",
            "请在 Slack 中取消归档, 或为其他频道新建 Webhook, 然后重新触发该消息。",
        ),
    ),
    "action_prohibited": (
        Text(
            "The Slack workspace forbids this webhook to post here",
            "该 Slack 工作区禁止此 Webhook 在此发言",
        ),
        Text(
            "Ask a Slack administrator to allow it, then retrigger the message.",
            "请联系 Slack 管理员放行, 然后重新触发该消息。",
        ),
    ),
    "posting_to_general_channel_denied": (
        Text(
            "Only some people may post to this Slack channel",
            "该 Slack 频道仅限部分成员发言",
        ),
        Text(
            "Ask a Slack administrator to allow it, or use another channel.",
            "请联系 Slack 管理员放行, 或改用其他频道。",
        ),
    ),
    "invalid_payload": (
        Text("Slack could not read our message", "Slack 无法解析该消息"),
        Text(
            "This is a fault of Relay: please report it with the delivery's id.",
            "这是 Relay 的缺陷, 请附上投递编号反馈给我们。",
        ),
    ),
}

_OTHER_REFUSAL = (
    Text("Slack refused the message", "Slack 拒绝了该消息"),
    Text(
        "Its answer is kept with the attempt. Check the channel's url, then retrigger the message.",
        "Slack 的应答保存在该次尝试中。请检查频道的 url, 然后重新触发该消息。",
    ),
)


class SlackSettings(ChannelSettings):
    """What an incoming webhook needs."""

    url: PostUrl = Field(description="the incoming webhook's URL, which is its credential")


class Channel(relay.channel.Channel):
    """One incoming webhook. Slack shows no ids, so a repeat is a second message with the same
    delivery in its footer."""

    Settings: ClassVar[type[ChannelSettings]] = SlackSettings

    def __init__(self, name: str, settings: SlackSettings, outbound: Outbound) -> None:
        super().__init__(name, settings, outbound)
        self._poster = Poster(outbound, settings.url.get_secret_value())

    def post(self, message: Message) -> Posted:
        """Success is 200 with the body `ok`, nothing else."""
        told = render(self.card(message))
        answer = self._poster.post(
            json.dumps(told).encode("ascii"), {"content-type": "application/json; charset=utf-8"}
        )
        if answer.status == 200 and answer.text.strip() == "ok":
            return Posted(answer.told)
        raise _failure(answer)

    def close(self) -> None:
        self._poster.close()


def render(shown: Card) -> Json:
    """The card as Block Kit: `blocks`, and `text` for previews and screen readers."""
    blocks = [_header(f"{shown.sign} {shown.title}: {shown.name}")]
    for start in range(0, len(shown.facts), MOST_FIELDS):
        fields = [
            _text(_fact(fact), LONGEST_FIELD) for fact in shown.facts[start : start + MOST_FIELDS]
        ]
        blocks.append({"type": "section", "fields": fields})
    if shown.problem:
        code = f" ({_value(shown.code)})" if shown.code else ""
        blocks.append(_section(f"{_fact(shown.problem)}{code}"))
    if shown.advice:
        blocks.append(_section(_fact(shown.advice)))
    blocks += _lines(shown)
    if shown.links:
        blocks.append(_section(" · ".join(_link(link) for link in shown.links)))
    blocks.append({"type": "context", "elements": [_text(_prose(shown.footer), LONGEST_FIELD)]})
    return {
        "text": _fit(_prose(shown.summary), LONGEST_TEXT),
        "blocks": blocks,
        # A preview would fetch the links, and show a page of ours to the whole channel.
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _lines(shown: Card) -> Iterator[Json]:
    """A digest's deliveries: a section for a few of them, so that none of its links is cut."""
    told = [_line(line) for line in shown.lines]
    if shown.more:
        told.append(_prose(shown.more))
    for start in range(0, len(told), LINES_IN_SECTION):
        yield _section("\n".join(told[start : start + LINES_IN_SECTION]))


def _line(line: Line) -> str:
    where = f" <{line.url}|→>" if line.url else ""
    return f"{line.sign} {_value(line.name)} {_prose(line.text)}{where}"


def _failure(answer: Answer) -> RelayError:
    word = answer.text.strip()
    known = _REFUSALS.get(word)
    if known or answer.status in (400, 403, 404, 410):
        code = f"slack.{word}" if known else "slack.refused"
        return PermanentFailure(code, *(known or _OTHER_REFUSAL), answer=answer.told)
    if answer.status == 200:
        return TemporaryFailure(
            "slack.not_ok",
            Text(
                "The url answers 200, but not with Slack's `ok`: the message was not posted",
                "该 url 返回了 200, 但内容不是 Slack 的 `ok`, 消息并未送达",
            ),
            Text(
                "Check that the channel's url is Slack's and that no proxy answers in its place.",
                "请检查频道的 url 是否为 Slack 地址, 以及是否有代理代为应答。",
            ),
            answer=answer.told,
        )
    return refusal(answer)


def _header(text: str) -> Json:
    # Plain text knows no escapes for sure, so what could be markup becomes its look-alike.
    heading = text.translate(_HEADING)
    if len(heading) > LONGEST_HEADER:
        heading = f"{heading[: LONGEST_HEADER - 1]}…"
    return {"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": False}}


def _section(text: str) -> Json:
    return {"type": "section", "text": _text(text, LONGEST_TEXT)}


def _text(text: str, longest: int) -> Json:
    # Verbatim: Slack makes no links, channels or mentions of what merely looks like one.
    return {"type": "mrkdwn", "text": _fit(text, longest), "verbatim": True}


def _fit(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{_BROKEN_ESCAPE.sub('', text[: longest - 1])}…"


def _fact(fact: Fact) -> str:
    return f"*{fact.label}*\n{_prose(fact.value) if fact.sentence else _value(fact.value)}"


def _value(text: str) -> str:
    # In a code span nothing is markup but a backtick and what is escaped anyway.
    return f"`{text.translate(_CODE).translate(_ESCAPES)}`"


def _prose(text: str) -> str:
    told = _ITALIC.sub(lambda match: "ˍ" * len(match[0]), text.translate(_MARKUP))
    told = _EMOJI.sub(f":{_WORD_JOINER}", told)
    return _MENTION.sub(f"@{_WORD_JOINER}", told).translate(_ESCAPES)


def _link(link: Link) -> str:
    return f"<{link.url.translate(_ESCAPES).replace('|', '%7C')}|{link.label}>"
