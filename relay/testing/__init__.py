"""Conformance suites that the tests of plug-ins inherit; `sandbox` runs without pytest."""

from __future__ import annotations

try:
    import pytest
except ModuleNotFoundError:  # `relay demo` and `relay sandbox` in production
    __all__: list[str] = []
else:
    pytest.register_assert_rewrite(
        "relay.testing.channel_suite", "relay.testing.handler_suite", "relay.testing.target_suite"
    )

    from relay.testing.channel_suite import ChannelSuite
    from relay.testing.handler_suite import HandlerSuite
    from relay.testing.target_suite import TargetSuite

    __all__ = ["ChannelSuite", "HandlerSuite", "TargetSuite"]
