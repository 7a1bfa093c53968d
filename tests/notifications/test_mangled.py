"""Whatever comes from a known sender is answered and kept, whatever it is.

Every kind and every envelope at once, through the real WSGI app: no answer is a 5xx, no exception
comes out of anything, and what is answered with 200 is in the ledger byte for byte.
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
from tests.every_kind import KINDS, kept, loads, of_case, open_house, post, table
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
    """Three sources of each kind: with a token alone, with every key, with Google's tokens."""
    sources = {}
    for kind in KINDS:
        sources[kind] = table(kind, token=TOKEN)
        sources[f"{kind}-all"] = table(kind, **ALL)
        sources[f"{kind}-google"] = table(kind, **OIDC)
    world = World(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    folder = tmp_path_factory.mktemp("relay")
    with open_house(folder, sources, world, ticking(), hooks={"max_body": LIMIT}) as opened:
        yield RunningRelay(*opened, world)


def ticking() -> Callable[[], datetime]:
    """A clock on which no two notifications come at once: their ids say which came last."""
    ticks = itertools.count()
    return lambda: NOW + next(ticks) * timedelta(milliseconds=1)


class Errors(logging.Handler):
    """What was logged as an error: exceptions that nobody expected, caught all the same."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@contextmanager
def no_errors() -> Iterator[None]:
    heard = Errors()
    logging.getLogger().addHandler(heard)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(heard)
    assert not heard.found, heard.found[0]


def check(relay: RunningRelay, source: str, sent: Incoming, envelope: str = "") -> str:
    """Posts it; what became of it. `envelope`: the one that lets it in; if another takes it for
    its own, it may be refused."""
    with no_errors():
        answer = post(relay.app, sent, source)
    if envelope and answer.status_code == 401:
        assert first(relay, source, sent) != envelope
        return "refused"
    assert answer.status_code == 200, (answer.status_code, answer.get_data())
    told = answer.get_json(silent=True)
    if isinstance(told, dict) and "notification" in told:
        found = relay.relay.ledger.history.notification(told["notification"])
        assert found is not None
        assert "handler itself failed" not in (found.reason or "")
    else:
        [found] = relay.relay.ledger.history.notifications(limit=1, cursor=None).items
        assert found.verdict == Verdict.HANDSHAKE
    same = found.body == kept(sent.body)
    assert same, "what was answered with 200 is not what is kept"
    assert found.source == source
    return str(found.verdict)


def first(relay: RunningRelay, source: str, sent: Incoming) -> str:
    """The envelope that takes it for its own."""
    every = build_envelopes(relay.relay.settings.sources[source])
    return next(one.name for one in every if one.missing_setting() is None and one.recognises(sent))


# How a sender proves who it is, whatever it sends


class Said(NamedTuple):
    """A request for a kind's source of this suffix, which this envelope lets in."""

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
    told = {**headers, **signed(SECRET.encode(), body, NOW)}
    return Said("-all", "signed", incoming(body, told))


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

# What it sends


class Deep(bytes):
    """Bytes that are not shown in full when a test fails."""

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
    | st.sampled_from([one for one in WRONG_VALUES if len(str(one)) < 100])
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
    """`kind`: the one that it is meant for, "" for any."""

    kind: str
    headers: dict[str, str]
    body: bytes


@st.composite
def of_a_real_one(draw: st.DrawFn) -> Made:
    """A real notification of some storage, with one field or some of its bytes changed, most
    often for a source of its own kind."""
    kind = draw(st.sampled_from(sorted({case.parent.name for case in CASES})))
    case = draw(st.sampled_from([case for case in CASES if case.parent.name == kind]))
    headers, body = of_case(case)
    kind = kind if draw(st.integers(0, 3)) else ""
    found = loads(body)
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
    *[of_a_real_one()] * 3,
)
checked = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_every_kind_is_here() -> None:
    assert set(KINDS) == set(loader.known("handlers"))


@pytest.mark.no_cover  # much of the same
@checked
@given(
    kind=st.sampled_from(sorted(KINDS)),
    way=st.sampled_from(WAYS),
    made=bodies,
    more=odd_headers,
)
def test_whatever_a_known_sender_sends_is_answered_and_kept(
    relay: RunningRelay, kind: str, way: Way, made: Made, more: dict[str, str]
) -> None:
    kind = made.kind or kind
    proofs = ("authorization", "x-relay-token", "webhook-id", "x-oci-ns-confirmationurl")
    said = {name: one for name, one in {**made.headers, **more}.items() if name not in proofs}
    suffix, envelope, sent = way(relay.world, kind, made.body, said)
    event(f"{way.__qualname__}: {check(relay, kind + suffix, sent, envelope)}")


@settings(checked, max_examples=30)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    method=st.sampled_from(["OPTIONS", "HEAD"]),
    body=st.binary(max_size=20),
    more=odd_headers,
    raw=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
)
def test_no_question_is_a_crash(
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
def test_whatever_a_stranger_sends_is_refused(
    relay: RunningRelay,
    kind: str,
    made: Made,
    more: dict[str, str],
    proof: str,
    raw: str,
) -> None:
    told = {**made.headers, **more, "authorization": proof}
    sent = replace(incoming(made.body, told), raw_query=raw)
    with no_errors():
        answer = post(relay.app, sent, f"{kind}-all")
    assert answer.status_code == 401


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_good_request_is_kept_by_every_kind(relay: RunningRelay, kind: str) -> None:
    """Also by one that does not understand it."""
    for producer in PRODUCERS:
        if producer.envelope in ("b2", "signed", "sns", "smn") and not producer.answer:
            check(relay, f"{kind}-all", producer.send(relay.world, NOW))
        if producer.keys == OIDC:
            check(relay, f"{kind}-google", producer.send(relay.world, NOW))


@pytest.mark.no_cover  # much of the same
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_any_field_of_a_real_one_may_be_anything(relay: RunningRelay, kind: str) -> None:
    """Each field of some of its own, one after the other, missing and with each wrong value."""
    handler = relay.relay.plugins.sources[kind]
    good = [case for case in CASES if case.parent.name == kind and is_good(case)]
    assert good, f"there is no case of {kind} that is accepted"
    for case in good[:: len(good) // 3 + 1]:
        headers, body = of_case(case)
        every = build_envelopes(relay.relay.settings.sources[kind])
        open_ones = [one for one in every if one.missing_setting() is None]
        for changed in _changed(loads(body) or {}):
            sent = incoming(changed, headers)
            envelope = next(one for one in open_ones if one.recognises(sent))
            with no_errors():
                reading = parse(handler, envelope, sent)
            for one in reading.events:
                assert_storable(one, case)


def is_good(case: Path) -> bool:
    return bool(json.loads(case.with_suffix(".json").read_text())["verdict"] == Verdict.ACCEPTED)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("envelope", ["signed", "bare"])
def test_every_kind_reads_our_own_records(relay: RunningRelay, kind: str, envelope: str) -> None:
    """Anybody's script can announce an object of any storage."""
    handler = relay.relay.plugins.sources[f"{kind}-all"]
    ours = {"bucket": "exports", "key": "a+b %2B.zip", "version": "7", "etag": "e", "size": 3}
    other = {"bucket": "exports", "key": "b.zip", "etag": "e", "time": "2026-11-24T03:00:00Z"}
    third = {"bucket": "exports", "key": "c.zip", "id": "upload 3"}
    body = assembled({"events": [ours, other, third]})
    reading = parse(handler, ENVELOPES[envelope](handler.settings), incoming(body, {}))
    assert reading.verdict == Verdict.ACCEPTED
    assert [one.identity for one in reading.events] == [
        "version:7",
        "etag:e@2026-11-24T03:00:00+00:00",
        "id:upload 3",
    ]
    assert reading.events[0].object.key == "a+b %2B.zip"


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1, 10 * 2**20])
def test_as_much_as_the_limit_is_kept_and_more_is_refused(relay: RunningRelay, size: int) -> None:
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
    """As a server hands it on that undid the chunks: without a length, to be read to its end."""
    environ = create_environ(f"/hooks/s3?token={TOKEN}", method="POST")
    environ.pop("CONTENT_LENGTH", None)
    environ |= {"wsgi.input": Endless(size), "wsgi.input_terminated": True}
    with no_errors():
        told, status, _ = run_wsgi_app(relay.app, environ)
    assert status.partition(" ")[0] == ("200" if size <= LIMIT else "413")
    if size <= LIMIT:
        found = relay.relay.ledger.history.notification(json.loads(b"".join(told))["notification"])
        assert found is not None
        assert found.body == b" " * size


class Endless:
    """A stream of so many spaces."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        size = self.left if size < 0 else min(size, self.left)
        self.left -= size
        return b" " * size
