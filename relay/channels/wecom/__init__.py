"""The channel of `kind = "wecom"`."""

from relay.channels.wecom.channel import Channel

__all__ = ["Channel"]
