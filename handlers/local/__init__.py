"""A local folder: `kind = "local"`."""

from relay.handlers.local.handler import Handler

__all__ = ["Handler"]
