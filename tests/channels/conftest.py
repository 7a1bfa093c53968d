"""Fixtures of the channel tests."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from relay.outbound.session import HttpClientFactory
from relay.testing.fake_server import Reply, StandIn


@pytest.fixture
def outbound() -> HttpClientFactory:
    return HttpClientFactory(allow_private=[ip_network("127.0.0.0/8")], read_timeout=5)


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with StandIn(Reply(200, "ok")) as stand_in:
        yield stand_in
