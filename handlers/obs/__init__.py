"""Huawei Cloud OBS: `kind = "obs"`."""

from relay.handlers.obs.handler import Handler

__all__ = ["Handler"]
