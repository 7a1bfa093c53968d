"""Posts messages to a custom bot in a Lark group: Feishu's service outside of China."""

from __future__ import annotations

from typing import ClassVar

from relay.model import Text
from relay.robot_feishu import FeishuChannel, FeishuSettings, refusals
from relay.robot_words import Refusals
from relay.settings import ChannelSettings


class LarkSettings(FeishuSettings):
    """The same settings; the address is at another host."""

    HOST: ClassVar[str] = "open.larksuite.com"


class Channel(FeishuChannel):
    """One custom bot."""

    Settings: ClassVar[type[ChannelSettings]] = LarkSettings
    PRODUCT: ClassVar[Text] = Text("Lark", " Lark ")
    REFUSALS: ClassVar[Refusals] = refusals(PRODUCT)
