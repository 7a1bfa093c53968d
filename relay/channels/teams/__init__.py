"""The channel of `kind = "teams"`."""

from relay.channels.teams.channel import Channel

__all__ = ["Channel"]
