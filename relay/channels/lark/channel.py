"""Posts messages to a custom bot in a Lark group: Feishu's service outside of China."""

from __future__ import annotations

from typing import ClassVar

from relay.channels.feishu.channel import Channel as FeishuChannel
from relay.channels.feishu.channel import FeishuSettings, refusals
from relay.channels.known_errors import KnownErrors
from relay.config.load import ChannelSettings
from relay.model import Localized


class LarkSettings(FeishuSettings):
    """The same settings; the address is at another host."""

    HOST: ClassVar[str] = "open.larksuite.com"


class Channel(FeishuChannel):
    """One custom bot."""

    Settings: ClassVar[type[ChannelSettings]] = LarkSettings
    PRODUCT: ClassVar[Localized] = Localized("Lark", " Lark ")
    REFUSALS: ClassVar[KnownErrors] = refusals(PRODUCT)
