"""Posts messages to a custom bot in a Lark group: Feishu's service outside China."""

from __future__ import annotations

from typing import ClassVar

from relay.channels.feishu.channel import Channel as FeishuChannel
from relay.channels.feishu.channel import FeishuSettings
from relay.model import Localized


class LarkSettings(FeishuSettings):
    """The settings of Feishu; the webhook is at another host."""

    HOST: ClassVar[str] = "open.larksuite.com"


class Channel(FeishuChannel):
    """A custom bot of Lark."""

    Settings = LarkSettings
    PRODUCT: ClassVar[Localized] = Localized("Lark", " Lark ")
