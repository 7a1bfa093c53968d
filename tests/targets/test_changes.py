"""A change: the last bytes of a body are sent only after the guard has recorded the call."""

from __future__ import annotations

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from relay.intents import ChangeCall, IntentState
from relay.targets.changes import LAST_BYTES, Change, FunctionName
from relay.testing.change_recorder import ChangeForbidden, ChangeRecorder
from tests.targets.functiongraph.conftest import FakeServer, fake_server

__all__ = ["fake_server"]

HELLO = FunctionName("hello", "default")


class Chunks(list[bytes]):
    """A body that announces `length` bytes."""

    length = 4

    def __len__(self) -> int:
        return self.length


def change_of(chunks: list[bytes], recorder: ChangeRecorder, length: int = 4) -> Change:
    body = Chunks(chunks)
    body.length = length
    return recorder.change(ChangeCall.CREATE, HELLO, body, digest=lambda: "d")


@given(st.lists(st.binary(max_size=2 * LAST_BYTES), max_size=6).filter(any))
def test_the_body_is_sent_unchanged_and_recorded_before_the_last_bytes(chunks: list[bytes]) -> None:
    recorder = ChangeRecorder()
    whole = b"".join(chunks)
    sent = b""
    for piece in change_of(chunks, recorder, len(whole)):
        assert len(recorder.calls) == (len(sent) + len(piece) == len(whole))
        sent += piece
    assert sent == whole


@pytest.mark.parametrize("chunks", [[b"abc"], [b"abc", b"de"], [b"abcd", b"e"]])
def test_a_body_of_the_wrong_length_never_becomes_a_complete_request(
    fake_server: FakeServer, chunks: list[bytes]
) -> None:
    recorder = ChangeRecorder()
    with pytest.raises(ValueError, match="than announced"):
        requests.post(fake_server.url, data=change_of(chunks, recorder), timeout=5)
    assert fake_server.requests == []
    assert recorder.calls == []


def test_a_forbidden_call_never_becomes_a_complete_request(fake_server: FakeServer) -> None:
    change = change_of([b"abcd"], ChangeRecorder(forbids=True))
    with pytest.raises(ChangeForbidden):
        requests.post(fake_server.url, data=change, timeout=5)
    assert fake_server.requests == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (400, IntentState.REFUSED),
        (401, IntentState.REFUSED),
        (409, IntentState.REFUSED),
        (429, IntentState.REFUSED),
        (408, IntentState.OPEN),
        (500, IntentState.OPEN),
        (503, IntentState.OPEN),
        (200, IntentState.OPEN),
    ],
)
def test_a_status_closes_the_intent_only_if_nothing_was_changed(
    status: int, state: IntentState
) -> None:
    recorder = ChangeRecorder()
    change = change_of([b"abcd"], recorder)
    list(change)
    change.answered(status)
    assert [call.state for call in recorder.calls] == [state]


def test_a_call_whose_last_bytes_were_not_sent_is_closed_as_never_sent() -> None:
    recorder = ChangeRecorder()
    change = change_of([b"abcd"], recorder)
    next(iter(change))
    change.interrupted()
    assert [call.state for call in recorder.calls] == [IntentState.NEVER_SENT]


def test_a_call_that_was_sent_and_lost_stays_open() -> None:
    recorder = ChangeRecorder()
    change = change_of([b"abcd"], recorder)
    list(change)
    change.interrupted()
    assert [call.state for call in recorder.calls] == [IntentState.OPEN]


def test_each_pass_is_recorded() -> None:
    recorder = ChangeRecorder()
    change = change_of([b"abcd"], recorder)
    list(change)
    change.answered(401)
    list(change)
    assert [call.state for call in recorder.calls] == [IntentState.REFUSED, IntentState.OPEN]
