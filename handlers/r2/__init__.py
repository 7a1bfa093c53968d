"""Cloudflare R2: `kind = "r2"`."""

from relay.handlers.r2.handler import Handler

__all__ = ["Handler"]
