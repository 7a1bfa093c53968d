"""The suites that every plug-in's tests inherit."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "relay.testing.channel", "relay.testing.handler", "relay.testing.target"
)

from relay.testing.channel import ChannelSuite  # noqa: E402 - rewritten before it is imported
from relay.testing.handler import HandlerSuite  # noqa: E402
from relay.testing.target import TargetSuite  # noqa: E402

__all__ = ["ChannelSuite", "HandlerSuite", "TargetSuite"]
