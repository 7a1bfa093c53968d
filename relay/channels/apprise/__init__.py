"""The channel of `kind = "apprise"`."""

from relay.channels.apprise.channel import Channel

__all__ = ["Channel"]
