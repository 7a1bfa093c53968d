"""Stop signals of long-running commands."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from relay.cli.signals import stop_signal


@pytest.fixture(autouse=True)
def default_sighup() -> Iterator[None]:
    """Give SIGHUP the default action, as for a command started at a terminal."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_stop_signal_is_received(number: signal.Signals) -> None:
    with stop_signal() as stop:
        assert not stop.wait_for(0)
        os.kill(os.getpid(), number)
        assert stop.wait_for(10)


def test_an_ignored_sighup_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_signal() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait_for(10)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_the_previous_handlers_are_restored() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous = [signal.getsignal(number) for number in numbers]
    with stop_signal():
        pass
    assert [signal.getsignal(number) for number in numbers] == previous
