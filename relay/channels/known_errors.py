"""What the errors of group robots mean, and what to do about them, in both languages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from relay.model import Localized

_BY_ITSELF = Localized("Relay posts the message again by itself.", "稍后 Relay 会自动重新发送。")


@dataclass(frozen=True, slots=True)
class KnownError:
    """What a service's error means: `name` in our code, words, what to do.

    `wait`: how long everybody should; None: waiting would not help.
    """

    name: str
    message: Localized
    hint: Localized
    wait: timedelta | None = None


KnownErrors = Mapping[int, KnownError]


def limited(product: Localized, wait: timedelta) -> KnownError:
    """The service's own limit was reached."""
    return KnownError(
        "limited",
        Localized(
            f"{product.en} takes no more messages for the moment: its rate limit is reached",
            f"已触发{product.zh}的频率限制，暂时无法发送",
        ),
        _BY_ITSELF,
        wait,
    )


def busy(product: Localized) -> KnownError:
    """The service itself is in trouble."""
    return KnownError(
        "busy",
        phrase(f"{product.en} says that it is busy", f"{product.zh}系统繁忙"),
        _BY_ITSELF,
        timedelta(seconds=30),
    )


def phrase(english: str, chinese: str) -> Localized:
    """Words around a product's name: in Chinese a Latin one has spaces, but none at an end."""
    return Localized(english, chinese.strip())


def misread(product: Localized) -> KnownError:
    """The service does not understand what we posted."""
    return KnownError(
        "invalid",
        phrase(f"{product.en} could not read our message", f"{product.zh}无法识别这条消息的格式"),
        Localized(
            "This is a fault of Relay: please report it with the delivery's id and the answer "
            "that is kept with the attempt.",
            "这是 Relay 的缺陷，请附上投递编号以及该次尝试中保存的应答，反馈给我们。",
        ),
    )


def gone(product: Localized, english: str, chinese: str) -> KnownError:
    """The address leads nowhere any more."""
    return KnownError(
        "url",
        phrase(english, chinese),
        Localized(
            f"Check that the robot is still in the {product.en} group, copy its webhook address "
            "into the channel's url, then retrigger the message.",
            f"请确认机器人仍在{product.zh}群中，将其 Webhook 地址重新复制到频道的 url，"
            "然后重新触发该消息。",
        ),
    )
