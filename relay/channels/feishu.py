"""Posts messages to a custom bot in a Feishu group (open.feishu.cn)."""

from __future__ import annotations

from relay.robot_feishu import FeishuChannel


class Channel(FeishuChannel):
    """One custom bot."""
