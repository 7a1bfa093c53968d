"""The channel of `kind = "slack"`."""

from relay.channels.slack.channel import Channel

__all__ = ["Channel"]
