"""Conformance test suites that plug-in authors inherit."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    "relay.testing.channel_suite", "relay.testing.handler_suite", "relay.testing.target_suite"
)

from relay.testing.channel_suite import ChannelSuite  # noqa: E402 - imported after the registration
from relay.testing.handler_suite import HandlerSuite  # noqa: E402
from relay.testing.target_suite import TargetSuite  # noqa: E402

__all__ = ["ChannelSuite", "HandlerSuite", "TargetSuite"]
