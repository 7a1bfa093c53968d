"""Lark: `kind = "lark"`."""

from relay.channels.lark.channel import Channel

__all__ = ["Channel"]
