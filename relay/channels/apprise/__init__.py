"""Apprise: `kind = "apprise"`."""

from relay.channels.apprise.channel import Channel

__all__ = ["Channel"]
