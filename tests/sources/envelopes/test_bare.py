"""Bare records: the accepted senders, and arbitrary bodies without unexpected exceptions."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from relay.config.load import SourceSettings
from relay.errors import Unreadable, Unverified
from relay.handlers.s3 import Handler
from relay.model import Incoming
from relay.sources.envelopes import ENVELOPES
from relay.sources.envelopes.bare import Bare
from relay.testing.handler_suite import assert_storable

TOKEN = "t0ken-Ünïcode"
BARE = Bare(SourceSettings(kind="s3", token=SecretStr(TOKEN)))


def sent(
    authorization: str | None = None, query: Mapping[str, str] | None = None, body: bytes = b""
) -> Incoming:
    headers = {} if authorization is None else {"authorization": authorization}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Incoming("exports", body, now, headers=headers, query=query or {})


def on_the_wire(text: str) -> str:
    """A header as WSGI passes it: bytes decoded as Latin-1."""
    return text.encode().decode("latin-1")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "incoming",
    [
        sent(on_the_wire(f"Bearer {TOKEN}")),
        sent(on_the_wire(f"bearer  {TOKEN} ")),
        sent(on_the_wire(TOKEN)),
        sent(basic("relay", TOKEN)),
        sent(basic(TOKEN, "")),
        sent(query={"token": TOKEN}),
        sent("Bearer wrong", query={"token": TOKEN}),
    ],
)
def test_the_token_is_accepted_in_every_documented_place(incoming: Incoming) -> None:
    BARE.verify(incoming)


@pytest.mark.parametrize(
    "incoming",
    [
        sent(),
        sent(""),
        sent("Bearer"),
        sent("Bearer "),
        sent(on_the_wire(f"Bearer {TOKEN}x")),
        sent(on_the_wire(f"Bearer {TOKEN[:-1]}")),
        sent(on_the_wire(f"Digest {TOKEN}")),
        sent(basic("relay", "wrong")),
        sent("Basic !!!"),
        sent("Basic " + base64.b64encode(b"\xff\xfe").decode()),
        sent("Bearer 导出"),
        sent(query={"token": "wrong"}),
        sent(query={"token": "\udcff"}),
        sent(query={"Token": TOKEN}),
    ],
)
def test_other_credentials_are_refused(incoming: Incoming) -> None:
    with pytest.raises(Unverified) as raised:
        BARE.verify(incoming)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("token", [None, SecretStr("")])
def test_without_a_token_it_is_absent_and_verifies_no_request(token: SecretStr | None) -> None:
    bare = Bare(SourceSettings(kind="s3", token=token))
    assert bare.missing_setting() == "token"
    for incoming in (sent(), sent(""), sent("Bearer "), sent(query={"token": ""})):
        with pytest.raises(Unverified):
            bare.verify(incoming)


def test_with_a_token_nothing_is_missing_and_there_is_no_handshake() -> None:
    assert BARE.missing_setting() is None
    assert BARE.answer(sent()) is None


def test_it_recognises_everything_and_is_tried_last() -> None:
    assert BARE.recognises(sent(body=b"\xff"))
    assert list(ENVELOPES)[-1] == "bare"


def test_records_nested_as_deeply_as_those_of_storages_are_read() -> None:
    body = b'{"a":' * 60 + b"1" + b"}" * 60
    assert len(list(BARE.unwrap(sent(body=body)))) == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["ObjectCreated:Put", "aws:s3", "%FF", "Object Created", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from(
                ["Records", "eventName", "s3", "object", "key", "bucket", "name", "detail-type"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@pytest.fixture(scope="module")
def handler() -> Any:
    made = Handler("exports", Handler.Settings(kind="s3", region="us-east-1"))
    with closing(made):
        yield made


@settings(max_examples=120, deadline=None)
@given(body=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_raises_an_unexpected_exception(handler: Handler, body: bytes) -> None:
    try:
        events = [e for record in BARE.unwrap(sent(body=body)) for e in handler.parse(record)]
    except Unreadable:
        return
    for event in events:
        assert_storable(event, body)
