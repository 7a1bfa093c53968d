"""The suites that every plug-in's tests inherit."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("relay.testing.handler", "relay.testing.channel")

from relay.testing.channel import ChannelSuite  # noqa: E402 - rewritten before it is imported
from relay.testing.handler import HandlerSuite  # noqa: E402

__all__ = ["ChannelSuite", "HandlerSuite"]
