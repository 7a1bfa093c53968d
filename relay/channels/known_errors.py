"""Converts error responses of chat services to RelayErrors that explain them in both languages.

Each service has a table of known errors in `<kind>/errors.py`. This module has the shared part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from relay.errors import PermanentFailure, RelayError, TemporaryFailure, Throttled
from relay.model import Localized
from relay.outbound.webhook import RETRIED, WebhookResponse

REPORT_BUG = Localized(
    "This is a bug in Relay. Please report it with the delivery id and the response stored with "
    "the attempt.",
    "这是 Relay 的缺陷，请附上投递编号以及该次尝试中保存的响应，反馈给我们。",
)


@dataclass(frozen=True, slots=True)
class KnownError:
    """A documented error of a service. The error code is `KIND.name`.

    `wait`: retry after this time, unless the response has a Retry-After. None: a retry cannot help.
    """

    name: str
    message: Localized
    hint: Localized
    wait: timedelta | None = None

    def to_error(self, kind: str, response: WebhookResponse) -> RelayError:
        code = f"{kind}.{self.name}"
        if self.wait is None:
            return PermanentFailure(code, self.message, self.hint, answer=response.summary)
        wait = response.retry_after or self.wait
        return Throttled(code, self.message, self.hint, answer=response.summary, retry_after=wait)


def throttled(kind: str, product: Localized, response: WebhookResponse) -> Throttled:
    """Return the error of a rate limit for which the service says when to retry."""
    return Throttled(
        f"{kind}.busy",
        Localized(f"The rate limit of {product.en} is reached", f"已触发{product.zh}的频率限制"),
        RETRIED,
        answer=response.summary,
        retry_after=response.retry_after,
    )


def explain(names: str, message: Localized, hint: Localized) -> Mapping[str, KnownError]:
    """Give all `names` (separated by spaces) the same explanation: name -> error."""
    return {name: KnownError(name, message, hint) for name in names.split()}


def strip_chinese(english: str, chinese: str) -> Localized:
    """Return a sentence that may begin or end with a product name.

    A Latin product name has spaces around it in Chinese text, but not at the end of a sentence.
    """
    return Localized(english, chinese.strip())


def rate_limited(product: Localized, wait: timedelta) -> KnownError:
    """The rate limit of the service."""
    return KnownError(
        "limited",
        Localized(
            f"The rate limit of {product.en} is reached",
            f"已触发{product.zh}的频率限制，暂时无法发送",
        ),
        RETRIED,
        wait,
    )


def busy(product: Localized) -> KnownError:
    """An overload of the service."""
    return KnownError(
        "busy",
        strip_chinese(f"{product.en} reports that it is busy", f"{product.zh}系统繁忙"),
        RETRIED,
        timedelta(seconds=30),
    )


def invalid_message(product: Localized) -> KnownError:
    """The service cannot parse the message."""
    return KnownError(
        "invalid",
        strip_chinese(
            f"{product.en} could not parse the message", f"{product.zh}无法识别这条消息的格式"
        ),
        REPORT_BUG,
    )


def webhook_removed(product: Localized, english: str, chinese: str) -> KnownError:
    """The webhook address is not valid any more."""
    return KnownError(
        "url",
        strip_chinese(english, chinese),
        Localized(
            f"Check that the robot is still in the {product.en} group, copy its webhook address "
            "into the channel's url, then retrigger the message.",
            f"请确认机器人仍在{product.zh}群中，将其 Webhook 地址重新复制到频道的 url，"
            "然后重新触发该消息。",
        ),
    )


def missing_keyword(product: Localized, robot: str) -> KnownError:
    """The security settings demand a keyword. `robot`: what the service calls it in English."""
    return KnownError(
        "keyword",
        Localized(
            f"The message has none of the custom keywords that the {product.en} {robot} requires",
            f"消息中没有{product.zh}机器人要求的自定义关键词",
        ),
        Localized(
            f"Put a custom keyword of the {robot} into the channel's keyword, "
            "then retrigger the message.",
            "请将机器人的任一自定义关键词填入频道的 keyword，然后重新触发该消息。",
        ),
    )


def refused(product: Localized) -> KnownError:
    """A refusal that is not in the service's table."""
    return KnownError(
        "refused",
        strip_chinese(f"{product.en} refused the message", f"{product.zh}拒绝了该消息"),
        strip_chinese(
            "The response is stored with the attempt. Check the channel's url, then retrigger the "
            "message.",
            f"{product.zh}的响应保存在该次尝试中。请检查频道的 url，然后重新触发该消息。",
        ),
    )


def unexpected_response(kind: str, product: Localized, response: WebhookResponse) -> RelayError:
    """A success status with a body that is not the service's: a proxy, a login page."""
    return TemporaryFailure(
        f"{kind}.not_ok",
        Localized(
            f"The url returned {response.status}, but not a response of {product.en}: "
            "the message was not posted",
            f"该 url 返回了 {response.status}，但返回内容不是{product.zh}的响应格式，消息并未送达",
        ),
        Localized(
            f"Check that the channel's url is an address of {product.en} and that no proxy "
            "responds in its place. Relay keeps retrying.",
            f"请检查频道的 url 是否为{product.zh}的地址，以及是否有代理代为响应；"
            "其间 Relay 会继续重试。",
        ),
        answer=response.summary,
    )
