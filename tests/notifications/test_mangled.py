"""Arbitrary requests of a verified sender are answered and stored.

Every kind and every envelope, through the real WSGI app: no response is a 5xx, no exception
escapes, and each body that was answered with 200 is in the ledger byte for byte.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from werkzeug.test import create_environ, run_wsgi_app

from relay import plugins as loader
from relay.app.relay import Relay
from relay.intake.intake import build_envelopes, parse
from relay.model import Incoming, Verdict
from relay.sources.envelopes import ENVELOPES
from relay.testing.handler_suite import assert_storable
from relay.testing.mangling import WRONG_VALUES, mangle
from tests.every_kind import (
    KINDS,
    load_json,
    open_relay,
    post,
    read_case,
    source_table,
    stored_body,
)
from tests.producers import PRODUCERS, SECRET, World, basic, by_google, by_sns, incoming
from tests.senders import b2, signed
from tests.signers import ARN, TOPIC, URN, Push, smn
from tests.sources.envelopes.tokens import NOW, OIDC, bearer

TOKEN = "hook-token"
LIMIT = 2**20
ALL = {
    "token": TOKEN,
    "secret": SECRET,
    "sns_topic_arns": [ARN],
    "smn_topic_urns": [URN],
    "mns_topics": [TOPIC],
}
CASES = sorted(Path(__file__).parent.glob("*/*.http"))


class RunningRelay(NamedTuple):
    relay: Relay
    app: Any
    world: World


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    """Three sources of each kind: with only a token, with all keys, and with JWTs of Google."""
    sources = {}
    for kind in KINDS:
        sources[kind] = source_table(kind, token=TOKEN)
        sources[f"{kind}-all"] = source_table(kind, **ALL)
        sources[f"{kind}-google"] = source_table(kind, **OIDC)
    world = World(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    folder = tmp_path_factory.mktemp("relay")
    with open_relay(folder, sources, world, unique_clock(), hooks={"max_body": LIMIT}) as opened:
        yield RunningRelay(*opened, world)


def unique_clock() -> Callable[[], datetime]:
    """A clock that never returns the same time, so that ids show the order of notifications."""
    ticks = itertools.count()
    return lambda: NOW + next(ticks) * timedelta(milliseconds=1)


class Errors(logging.Handler):
    """Collects logged errors, such as unexpected exceptions that were caught."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@contextmanager
def no_errors() -> Iterator[None]:
    errors = Errors()
    logging.getLogger().addHandler(errors)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(errors)
    assert not errors.found, errors.found[0]


def check(relay: RunningRelay, source: str, sent: Incoming, envelope: str = "") -> str:
    """Post a request and return the verdict. `envelope` verifies it; if another envelope recognises
    the request, it can be refused."""
    with no_errors():
        answer = post(relay.app, sent, source)
    if envelope and answer.status_code == 401:
        assert first(relay, source, sent) != envelope
        return "refused"
    assert answer.status_code == 200, (answer.status_code, answer.get_data())
    receipt = answer.get_json(silent=True)
    if isinstance(receipt, dict) and "notification" in receipt:
        found = relay.relay.ledger.history.notification(receipt["notification"])
        assert found is not None
        assert "handler itself failed" not in (found.reason or "")
    else:
        [found] = relay.relay.ledger.history.notifications(limit=1, cursor=None).items
        assert found.verdict == Verdict.HANDSHAKE
    same = found.body == stored_body(sent.body)
    assert same, "a body that was answered with 200 was stored differently"
    assert found.source == source
    return str(found.verdict)


def first(relay: RunningRelay, source: str, sent: Incoming) -> str:
    """The first envelope that recognises the request."""
    every = build_envelopes(relay.relay.settings.sources[source])
    return next(
        envelope.name
        for envelope in every
        if envelope.missing_setting() is None and envelope.recognises(sent)
    )


# How a sender proves its identity


class Said(NamedTuple):
    """A request to the source with this suffix, verified by this envelope."""

    suffix: str
    envelope: str
    sent: Incoming


Way = Callable[[World, str, bytes, dict[str, str]], Said]


def by_token(_world: World, _kind: str, body: bytes, headers: dict[str, str]) -> Said:
    return Said("", "", incoming(body, headers, query={"token": TOKEN}))


def by_bearer(_world: World, _kind: str, body: bytes, headers: dict[str, str]) -> Said:
    return Said("", "", incoming(body, {**headers, **bearer(TOKEN)}))


def by_basic(_world: World, _kind: str, body: bytes, headers: dict[str, str]) -> Said:
    return Said("", "", incoming(body, {**headers, **basic(TOKEN)}))


def by_b2(_world: World, _kind: str, body: bytes, headers: dict[str, str]) -> Said:
    return Said("-all", "b2", incoming(body, {**headers, **b2(SECRET, body)}))


def by_script(_world: World, _kind: str, body: bytes, headers: dict[str, str]) -> Said:
    signature = signed(SECRET.encode(), body, NOW)
    return Said("-all", "signed", incoming(body, {**headers, **signature}))


def in_sns(world: World, _kind: str, body: bytes, _headers: dict[str, str]) -> Said:
    return Said("-all", "sns", by_sns(world, NOW, Message=body.decode("utf-8", "replace")))


def in_smn(world: World, _kind: str, body: bytes, _headers: dict[str, str]) -> Said:
    message = smn(world.signer, NOW, message=body.decode("utf-8", "replace"))
    return Said("-all", "smn", incoming(message, {"x-smn-message-type": "Notification"}))


def in_mns(form: str) -> Way:
    def way(world: World, kind: str, body: bytes, _headers: dict[str, str]) -> Said:
        message = base64.b64encode(body).decode()
        push = Push(NOW, form=form, message=message or " ", target=f"/hooks/{kind}-all")
        return Said("-all", "mns", push.signed(world.signer))

    return way


def in_pubsub(world: World, _kind: str, body: bytes, headers: dict[str, str]) -> Said:
    message = {"data": base64.b64encode(body).decode(), "messageId": "1", "attributes": headers}
    wrapped = {"message": message, "subscription": "s"}
    sent = by_google(wrapped, {"content-type": "application/json"})(world, NOW)
    return Said("-google", "pubsub", sent)


WAYS: tuple[Way, ...] = (
    *(by_token, by_bearer, by_basic, by_b2, by_script, in_sns, in_smn, in_pubsub),
    *(in_mns("XML"), in_mns("JSON"), in_mns("SIMPLIFIED")),
)

# Bodies and headers


class Deep(bytes):
    """Bytes that are abbreviated when a test fails."""

    def __repr__(self) -> str:
        return f"{bytes(self[:80])!r} and so on, {len(self)} bytes"


HOT = (
    *("Records", "record", "events", "message", "messages", "subscription", "data", "data_base64"),
    *("detail", "detail-type", "source", "specversion", "type", "id", "subject", "time"),
    *("eventName", "eventType", "eventSource", "eventTime", "eventVersion", "eventTimestamp"),
    *("s3", "oss", "cos", "obs", "bucket", "object", "key", "name", "version", "etag", "size"),
    *("Message", "TopicArn", "Sns", "smn", "topic_urn", "TopicName", "body", "pubsub"),
    *("attributes", "objectId", "bucketId", "objectGeneration", "cloudEventsVersion"),
    *("new_entry", "event_type", "notification", "action", "bucketName", "objectName"),
)
WORDS = (
    *(
        "ObjectCreated:Put",
        "s3:ObjectCreated:Put",
        "b2:ObjectCreated:Upload",
        "create",
        "PutObject",
    ),
    *("OBJECT_FINALIZE", "OBJECT_CREATED_PUT", "Object Created", "cos:ObjectCreated:Put"),
    *("Microsoft.Storage.BlobCreated", "OBS:DWR:ObjectCreated:PUT", "Object:Write", "aws:sqs"),
    *("com.oraclecloud.objectstorage.createobject", "aws:s3", "ceph:s3", "1.0", "exports", "%FF"),
    *("/blobServices/default/containers/c/blobs/k", "9999-12-31T23:59:59-23:59", "\ud800", "\0"),
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
    | st.sampled_from([value for value in WRONG_VALUES if len(str(value)) < 100])
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(HOT) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=25,
)
header_names = st.sampled_from(
    (
        *("content-type", "content-encoding", "user-agent", "accept", "range", "expect", "x-a"),
        *("ce-id", "ce-type", "ce-source", "ce-specversion", "ce-subject", "ce-time", "ce-"),
        *("x-amz-sns-message-type", "x-amz-sns-rawdelivery", "x-smn-message-type"),
        *("x-mns-version", "x-mns-message-id", "x-mns-topic-name", "x-goog-pubsub-message-id"),
        *("aeg-event-type", "aeg-subscription-name", "x-oci-ns-messagetype", "eventtype"),
        *("webhook-request-origin", "x-forwarded-for", "x-request-id", "accept-language"),
    )
)
header_values = st.sampled_from(
    (
        *("", "true", "Notification", "SubscriptionConfirmation", "SubscriptionValidation", "1.0"),
        *("application/json", "application/cloudevents+json", "application/cloudevents-batch+json"),
        *("application/cloudevents+avro", "application/x-www-form-urlencoded", "text/plain"),
        *("multipart/form-data; boundary=x", "application/json; charset=utf-99", "gzip", "%"),
        *("%FF", "%C0%A0", "OBJECT_FINALIZE", "bytes=0-1", "100-continue", "eventgrid.azure.net"),
    )
) | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30)
odd_headers = st.dictionaries(header_names, header_values, max_size=5)
deep = st.builds(
    lambda opened, count, inner: Deep(opened * count + inner),
    st.sampled_from((b"[", b'{"a":', b'{"Records":[', b'{"events":', b'{"Message":"')),
    st.sampled_from((1, 63, 64, 65, 1000, 30_000)),
    st.sampled_from((b"", b"1", b"]", b"}")),
)


class Made(NamedTuple):
    """A body with headers. `kind`: the kind of the source, "" for any."""

    kind: str
    headers: dict[str, str]
    body: bytes


@st.composite
def changed_notification(draw: st.DrawFn) -> Made:
    """A real notification with a changed field or changed bytes, usually for a source of the same
    kind."""
    kind = draw(st.sampled_from(sorted({case.parent.name for case in CASES})))
    case = draw(st.sampled_from([case for case in CASES if case.parent.name == kind]))
    headers, body = read_case(case)
    kind = kind if draw(st.integers(0, 3)) else ""
    found = load_json(body)
    if isinstance(found, dict | list) and found and draw(st.booleans()):
        return Made(kind, headers, draw(st.sampled_from(list(_changed(found)))))
    changed = bytearray(body)
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        length = draw(st.integers(0, 9))
        changed[place : place + length] = draw(st.binary(max_size=9))
    return Made(kind, headers, bytes(changed))


def _changed(found: Any) -> Iterator[bytes]:
    for _, broken in mangle(found):
        with_text = json.dumps(broken)
        if len(with_text) < LIMIT // 2:
            yield with_text.encode("utf-8", "surrogatepass")


def assembled(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


bodies = st.one_of(
    st.binary(max_size=300).map(lambda body: Made("", {}, body)),
    anything.map(lambda value: Made("", {}, assembled(value))),
    deep.map(lambda body: Made("", {}, body)),
    *[changed_notification()] * 3,
)
checked = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_every_kind_is_covered() -> None:
    assert set(KINDS) == set(loader.known("handlers"))


@checked
@given(
    kind=st.sampled_from(sorted(KINDS)),
    way=st.sampled_from(WAYS),
    made=bodies,
    more=odd_headers,
)
def test_any_request_of_a_verified_sender_is_answered_and_stored(
    relay: RunningRelay, kind: str, way: Way, made: Made, more: dict[str, str]
) -> None:
    kind = made.kind or kind
    proofs = ("authorization", "x-relay-token", "webhook-id", "x-oci-ns-confirmationurl")
    headers = {
        name: value for name, value in {**made.headers, **more}.items() if name not in proofs
    }
    suffix, envelope, sent = way(relay.world, kind, made.body, headers)
    event(f"{way.__qualname__}: {check(relay, kind + suffix, sent, envelope)}")


@settings(checked, max_examples=30)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    method=st.sampled_from(["OPTIONS", "HEAD"]),
    body=st.binary(max_size=20),
    more=odd_headers,
    raw=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
def test_no_handshake_request_raises_an_unexpected_exception(
    relay: RunningRelay, kind: str, method: str, body: bytes, more: dict[str, str], raw: str
) -> None:
    before = len(relay.relay.ledger.history.notifications(limit=1, cursor=None).items)
    sent = replace(incoming(body, more), method=method, raw_query=f"token={TOKEN}&{raw}")
    with no_errors():
        answer = post(relay.app, sent, kind)
    assert answer.status_code in (200, 401)
    assert len(relay.relay.ledger.history.notifications(limit=1, cursor=None).items) == before


@settings(checked, max_examples=30)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    made=bodies,
    more=odd_headers,
    proof=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    raw=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
def test_any_request_of_an_unknown_sender_is_refused(
    relay: RunningRelay,
    kind: str,
    made: Made,
    more: dict[str, str],
    proof: str,
    raw: str,
) -> None:
    headers = {**made.headers, **more, "authorization": proof}
    sent = replace(incoming(made.body, headers), raw_query=raw)
    with no_errors():
        answer = post(relay.app, sent, f"{kind}-all")
    assert answer.status_code == 401


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_valid_request_is_stored_by_every_kind(relay: RunningRelay, kind: str) -> None:
    """Also by kinds that cannot read the request."""
    for producer in PRODUCERS:
        if producer.envelope in ("b2", "signed", "sns", "smn") and not producer.answer:
            check(relay, f"{kind}-all", producer.send(relay.world, NOW))
        if producer.keys == OIDC:
            check(relay, f"{kind}-google", producer.send(relay.world, NOW))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_real_notification_with_any_wrong_field_is_read(relay: RunningRelay, kind: str) -> None:
    """Each field of some cases of the kind, in turn, missing and with each wrong value."""
    handler = relay.relay.plugins.sources[kind]
    good = [case for case in CASES if case.parent.name == kind and is_good(case)]
    assert good, f"there is no case of {kind} that is accepted"
    for case in good[:: len(good) // 3 + 1]:
        headers, body = read_case(case)
        every = build_envelopes(relay.relay.settings.sources[kind])
        offered = [item for item in every if item.missing_setting() is None]
        for changed in _changed(load_json(body) or {}):
            sent = incoming(changed, headers)
            envelope = next(item for item in offered if item.recognises(sent))
            with no_errors():
                reading = parse(handler, envelope, sent)
            for found_event in reading.events:
                assert_storable(found_event, case)


def is_good(case: Path) -> bool:
    return bool(json.loads(case.with_suffix(".json").read_text())["verdict"] == Verdict.ACCEPTED)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("envelope", ["signed", "bare"])
def test_every_kind_reads_own_records(relay: RunningRelay, kind: str, envelope: str) -> None:
    """A script can announce an object of any storage."""
    handler = relay.relay.plugins.sources[f"{kind}-all"]
    first = {"bucket": "exports", "key": "a+b %2B.zip", "version": "7", "etag": "e", "size": 3}
    other = {"bucket": "exports", "key": "b.zip", "etag": "e", "time": "2026-11-24T03:00:00Z"}
    third = {"bucket": "exports", "key": "c.zip", "id": "upload 3"}
    body = assembled({"events": [first, other, third]})
    reading = parse(handler, ENVELOPES[envelope](handler.settings), incoming(body, {}))
    assert reading.verdict == Verdict.ACCEPTED
    assert [found_event.identity for found_event in reading.events] == [
        "version:7",
        "etag:e@2026-11-24T03:00:00+00:00",
        "id:upload 3",
    ]
    assert reading.events[0].object.key == "a+b %2B.zip"


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 10 * 2**20])
def test_a_body_longer_than_the_limit_is_refused(relay: RunningRelay, size: int) -> None:
    before = relay.relay.ledger.history.notifications(limit=1, cursor=None).items
    sent = incoming(b"[" * size, {}, query={"token": TOKEN})
    if size <= LIMIT:
        assert check(relay, "s3", sent) == Verdict.UNREADABLE
        return
    answer = post(relay.app, sent, "s3")
    assert answer.status_code == 413
    assert relay.relay.ledger.history.notifications(limit=1, cursor=None).items == before


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 10 * 2**20])
def test_a_chunked_body_is_bounded_too(relay: RunningRelay, size: int) -> None:
    """A server passes on a decoded chunked body: without a length, to be read to the end."""
    environ = create_environ(f"/hooks/s3?token={TOKEN}", method="POST")
    environ.pop("CONTENT_LENGTH", None)
    environ |= {"wsgi.input": Endless(size), "wsgi.input_terminated": True}
    with no_errors():
        response, status, _ = run_wsgi_app(relay.app, environ)
    assert status.partition(" ")[0] == ("200" if size <= LIMIT else "413")
    if size <= LIMIT:
        found = relay.relay.ledger.history.notification(
            json.loads(b"".join(response))["notification"]
        )
        assert found is not None
        assert found.body == b" " * size


class Endless:
    """A stream of `size` spaces."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return b" " * size
