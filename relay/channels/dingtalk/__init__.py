"""The channel of `kind = "dingtalk"`."""

from relay.channels.dingtalk.channel import Channel

__all__ = ["Channel"]
