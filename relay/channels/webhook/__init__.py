"""The channel of `kind = "webhook"`."""

from relay.channels.webhook.channel import Channel

__all__ = ["Channel"]
