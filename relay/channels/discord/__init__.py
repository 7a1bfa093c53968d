"""The channel of `kind = "discord"`."""

from relay.channels.discord.channel import Channel

__all__ = ["Channel"]
