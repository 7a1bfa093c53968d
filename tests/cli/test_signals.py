"""What ends a command that goes on by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from relay.cli.signals import stop_signal


@pytest.fixture(autouse=True)
def hangup() -> Iterator[None]:
    """The terminal's end is as it is for what a person starts."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_of_them_ends_it(number: signal.Signals) -> None:
    with stop_signal() as stop:
        assert not stop.came_within(0)
        os.kill(os.getpid(), number)
        assert stop.came_within(10)


def test_with_nohup_the_end_of_the_terminal_is_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_signal() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)  # heard after it
        assert stop.came_within(10)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_afterwards_all_is_as_it_was() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with stop_signal():
        pass
    assert [signal.getsignal(number) for number in numbers] == before
