"""What the group robots of Feishu, Lark, DingTalk and WeCom share.

All answer HTTP 200 with a number in the body: only that says whether the message was posted.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

import relay.channels.contract
from relay.channels.card import Card, plain
from relay.channels.contract import Message, Posted
from relay.channels.known_errors import KnownError, KnownErrors, phrase
from relay.config.load import ChannelSettings
from relay.errors import PermanentFailure, RelayError, TemporaryFailure, Throttled
from relay.model import Json, Localized, utc_now
from relay.outbound.session import HttpClientFactory
from relay.outbound.webhook import Poster, PostUrl, WebhookResponse, refusal

LONGEST_KEYWORD = 50

_CONTENT_TYPE = {"content-type": "application/json; charset=utf-8"}


def _one_line(keyword: str) -> str:
    if keyword != plain(keyword, LONGEST_KEYWORD):
        raise ValueError(f"is one line of at most {LONGEST_KEYWORD} characters")
    return keyword


Keyword = Annotated[str, AfterValidator(_one_line)]
"""A word that the robot's own settings demand in every message."""


class RobotSettings(ChannelSettings):
    """What every group robot needs."""

    HOST: ClassVar[str] = ""

    url: PostUrl = Field(description="the robot's webhook address, which is its credential")

    def advise(self) -> Iterator[tuple[str, str]]:
        host = urlsplit(self.url.get_secret_value()).hostname or ""
        if host != self.HOST:
            yield (
                f"its url leads to {host}; robots of kind {self.kind} are at {self.HOST}",
                "Check kind and url, if no gateway of yours stands there.",
            )


class GroupRobot(relay.channels.contract.Channel):
    """One robot in one group. The services know no id of ours, so a repeat is a second message
    with the same delivery in its footer."""

    PRODUCT: ClassVar[Localized]
    """What people call it."""
    CODE: ClassVar[str] = "errcode"
    """The member of the answer that is 0 on success."""
    REFUSALS: ClassVar[KnownErrors]

    def __init__(
        self,
        name: str,
        settings: RobotSettings,
        outbound: HttpClientFactory,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(name, settings, outbound)
        self._clock = clock
        self._poster = Poster(outbound, settings.url.get_secret_value(), self.secrets())

    @abstractmethod
    def laid_out(self, shown: Card) -> Json:
        """The body that shows the card, without a signature, within the service's limits."""

    def secrets(self) -> tuple[str, ...]:
        """What is kept out of answers, beside the URL."""
        return ()

    def signed(self, body: Json) -> tuple[Json, dict[str, str]]:
        """The body as it is posted now, and what is added to the URL's query."""
        return body, {}

    def meaning(self, code: int, answer: WebhookResponse) -> KnownError | None:  # noqa: ARG002 - a default
        """What an error code means; None: we do not know it."""
        return self.REFUSALS.get(code)

    def post(self, message: Message) -> Posted:
        """Success is 200 and a JSON object whose code is 0, nothing else."""
        body, query = self.signed(self.preview(message))
        answer = self._poster.post(encode(body), _CONTENT_TYPE, query)
        code = self.code(answer)
        if answer.status == 200 and code == 0:
            return Posted(answer.summary)
        raise self._failure(answer, code)

    def preview(self, message: Message) -> Json:
        return self.laid_out(self.build_card(message))

    def code(self, answer: WebhookResponse) -> int | None:
        code = answer.payload.get(self.CODE)
        return code if isinstance(code, int) and not isinstance(code, bool) else None

    def close(self) -> None:
        self._poster.close()

    def _failure(self, answer: WebhookResponse, code: int | None) -> RelayError:
        if code:
            meaning = self.meaning(code, answer)
            if meaning:
                return self._told(meaning, answer)
        if answer.status != 200:
            return refusal(answer)
        return self._strange(answer) if code is None else self._unknown(answer, code)

    def _told(self, meaning: KnownError, answer: WebhookResponse) -> RelayError:
        told = (f"{self.settings.kind}.{meaning.name}", meaning.message, meaning.hint)
        if meaning.wait is None:
            return PermanentFailure(*told, answer=answer.summary)
        return Throttled(
            *told, answer=answer.summary, retry_after=answer.retry_after or meaning.wait
        )

    def _unknown(self, answer: WebhookResponse, code: int) -> RelayError:
        return TemporaryFailure(
            f"{self.settings.kind}.refused",
            phrase(
                f"{self.PRODUCT.en} did not take the message (error {code})",
                f"{self.PRODUCT.zh}拒绝了这条消息（错误码 {code}）",
            ),
            phrase(
                f"What {self.PRODUCT.en} answered is kept with the attempt; "
                "Relay tries again meanwhile.",
                f"{self.PRODUCT.zh}的应答保存在该次尝试中；其间 Relay 会继续重试。",
            ),
            answer=answer.summary,
        )

    def _strange(self, answer: WebhookResponse) -> RelayError:
        return TemporaryFailure(
            f"{self.settings.kind}.not_ok",
            Localized(
                f"The url answers 200, but not as {self.PRODUCT.en} does: "
                "the message was not posted",
                f"该 url 返回了 200，但返回内容不是{self.PRODUCT.zh}的应答格式，消息并未送达",
            ),
            Localized(
                f"Check that the channel's url is {self.PRODUCT.en}'s and that no proxy "
                "answers in its place.",
                f"请检查频道的 url 是否为{self.PRODUCT.zh}机器人的地址，以及是否有代理代为应答。",
            ),
            answer=answer.summary,
        )


def encode(body: Json) -> bytes:
    """JSON in UTF-8, without escapes: WeCom refuses \\uXXXX (40033), and the limits count bytes."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
