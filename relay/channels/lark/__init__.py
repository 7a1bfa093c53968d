"""The channel of `kind = "lark"`."""

from relay.channels.lark.channel import Channel

__all__ = ["Channel"]
