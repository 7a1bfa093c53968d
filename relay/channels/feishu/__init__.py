"""The channel of `kind = "feishu"`."""

from relay.channels.feishu.channel import Channel

__all__ = ["Channel"]
