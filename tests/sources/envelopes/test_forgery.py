"""Forged requests to every envelope: all are refused, and nothing of them is stored.

tests/producers.py is the table of valid requests. Attacks on a single envelope (topics, certificate
URLs) are in the tests of that envelope.
"""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from tokens import HOUR, NOW, bearer

from relay.config.load import SourceSettings
from relay.errors import Unverified
from relay.model import Origin
from relay.sources.envelopes import ENVELOPES
from tests.producers import PRODUCERS, World, incoming

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
EVERY_KEY = {name: value for producer in PRODUCERS for name, value in producer.keys.items()}
DATED = [producer for producer in PRODUCERS if producer.dated]
COVERED = [producer for producer in PRODUCERS if producer.covers]

every = pytest.mark.parametrize("producer", PRODUCERS, ids=str)
dated = pytest.mark.parametrize("producer", DATED, ids=str)
covered = pytest.mark.parametrize("producer", COVERED, ids=str)


@pytest.fixture
def world(issuer_key):
    return World(issuer_key)


@pytest.fixture
def stranger(stranger_key):
    """A signer that the source does not trust."""
    return World(stranger_key)


@pytest.fixture
def make(make_hook, world):
    return lambda **keys: make_hook(fetch=world.fetch, **keys)


@pytest.fixture
def make_own(make):
    """A hook that accepts only the envelope of a producer."""
    return lambda producer: make(accept=[producer.envelope], **producer.keys)


def assert_refused(hook, world, request, may_fetch=()):
    """`may_fetch`: the only URLs that may be fetched, after all checks without a network."""
    with pytest.raises(Unverified):
        hook.accept(request)
    assert not hook.stored(), "a part of a forgery was stored"
    assert set(world.fetched) <= set(may_fetch), "a forgery caused a fetch"


def without_none(items):
    return {name: value for name, value in items.items() if value is not None}


def with_header(request, name, value):
    return replace(request, headers=without_none({**request.headers, name: value}))


def with_field(request, name, value):
    fields = without_none({**json.loads(request.body), name: value})
    return replace(request, body=json.dumps(fields).encode())


def with_query(request, name, value):
    query = without_none({**request.query, name: value})
    raw_query = "&".join(f"{key}={text}" for key, text in query.items())
    return replace(request, query=query, raw_query=raw_query)


CHANGES = {"header": with_header, "field": with_field, "query": with_query}


def proof_of(request, where, name):
    values = {"header": request.headers, "query": request.query}
    return values[where][name] if where in values else json.loads(request.body)[name]


def corrupted(text):
    """Yield the text with a changed character near the end. The last characters of base64 have
    unused bits, so they are not changed."""
    for place in range(max(0, len(text) - 15), len(text) - 3):
        other = "5" if text[place] != "5" else "7"
        yield text[:place] + other + text[place + 1 :]


def test_every_envelope_has_a_producer():
    assert {producer.envelope for producer in PRODUCERS} == set(ENVELOPES)


@every
def test_a_valid_request_is_accepted(make_own, world, producer):
    hook = make_own(producer)
    receipt = hook.accept(producer.send(world, NOW))
    assert [notification.envelopes for notification in hook.stored()] == [(producer.envelope,)]
    assert set(world.fetched) == set(producer.may_fetch)
    assert (receipt.answer.body if receipt.answer else None) == producer.answer


@every
def test_a_request_without_a_proof_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    hook = make_own(producer)
    for where, name in producer.proofs:
        for value in (None, ""):
            assert_refused(hook, world, CHANGES[where](good, name, value))


@every
def test_a_request_with_a_corrupted_proof_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    hook = make_own(producer)
    for where, name in producer.proofs:
        for value in corrupted(proof_of(good, where, name)):
            assert_refused(hook, world, CHANGES[where](good, name, value), producer.may_fetch[:1])


@every
def test_a_request_with_a_proof_of_another_form_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    hook = make_own(producer)
    for where, name in producer.proofs:
        for value in ("null", "0", "Bearer ", "Bearer null", "v1=", "v1,", "=", "A" * 10_000):
            assert_refused(hook, world, CHANGES[where](good, name, value), producer.may_fetch[:1])


@every
def test_a_request_signed_with_another_key_is_refused(make, world, stranger, producer):
    """The same request, with another key, secret or token."""
    hook = make(accept=[producer.envelope], **with_other_secrets(producer.keys))
    assert_refused(hook, world, producer.send(stranger, NOW), producer.may_fetch[:1])


def with_other_secrets(keys):
    """The keys of a source with other secrets."""
    return {
        name: f"other-{value}" if name in ("token", "secret") else value
        for name, value in keys.items()
    }


@covered
def test_a_changed_body_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    hook = make_own(producer)
    if producer.covers == "fields":
        fields = json.loads(good.body)
        changed = [with_field(good, name, f"{fields[name]} ") for name in producer.covered]
        changed += [with_field(good, name, None) for name in producer.covered]
    else:
        places = range(0, len(good.body), max(1, len(good.body) // 40))
        changed = [replace(good, body=with_flipped_bit(good.body, place)) for place in places]
        changed += [replace(good, body=body) for body in (b"", good.body + b" ", good.body[:-1])]
    for request in changed:
        assert_refused(hook, world, request, producer.may_fetch[:1])


def with_flipped_bit(body, place):
    changed = bytearray(body)
    changed[place] ^= 1
    return bytes(changed)


@every
def test_a_changed_signed_header_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    hook = make_own(producer)
    for name in producer.signs:
        for value in (None, f"{good.headers[name]}1"):
            changed = with_header(good, name, value)
            assert_refused(hook, world, changed, producer.may_fetch[:1])


@dated
@pytest.mark.parametrize("late", [HOUR + 61 * SECOND, DAY, 400 * DAY])
def test_a_late_request_is_refused_without_a_fetch(make_own, world, producer, late):
    """A recorded request that is replayed."""
    assert_refused(
        make_own(producer), world, replace(producer.send(world, NOW), received=NOW + late)
    )


@dated
def test_a_request_from_the_future_is_refused_without_a_fetch(make_own, world, producer):
    good = producer.send(world, NOW + HOUR + 61 * SECOND)
    assert_refused(make_own(producer), world, replace(good, received=NOW))


@every
def test_a_source_without_the_keys_refuses_it(make, world, producer):
    """An envelope without credentials is absent, not permissive."""
    assert_refused(make(accept=[producer.envelope]), world, producer.send(world, NOW))
    assert_refused(make(accept=list(ENVELOPES)), world, producer.send(world, NOW))


@every
def test_an_envelope_without_its_keys_verifies_no_request(world, producer):
    envelope = ENVELOPES[producer.envelope](SourceSettings(kind="s3"), world.fetch)
    assert envelope.missing_setting()
    with pytest.raises(Unverified):
        envelope.verify(producer.send(world, NOW))
    assert world.fetched == []


@every
def test_a_source_of_bare_records_refuses_it(make, world, producer):
    """A source with only a token ignores all other proofs."""
    hook = make(accept=["bare"], token="the-token-of-this-source")
    assert_refused(hook, world, producer.send(world, NOW))


@pytest.mark.parametrize(
    ("producer", "other"),
    [pair for pair in product(PRODUCERS, PRODUCERS) if pair[0].envelope != pair[1].envelope],
    ids=str,
)
def test_a_source_of_another_envelope_refuses_it(make, world, producer, other):
    hook = make(accept=[other.envelope], **other.keys)
    assert_refused(hook, world, producer.send(world, NOW), other.may_fetch[:1])


@every
def test_the_sender_cannot_choose_a_weaker_envelope(make, world, producer):
    """A source that accepts every envelope does not treat a request without proof as bare."""
    good = producer.send(world, NOW)
    hook = make(accept=list(ENVELOPES), **EVERY_KEY | {"token": "the-token-of-this-source"})
    for where, name in producer.proofs:
        assert_refused(hook, world, CHANGES[where](good, name, None))
        good = CHANGES[where](good, name, None)
    # Neither when nothing remains by which the envelope would be recognised.
    naked = incoming(good.body, {"content-type": "application/json"})
    assert_refused(hook, world, naked)
    assert_refused(hook, world, replace(naked, headers={}))


@pytest.mark.parametrize(
    "producer", [producer for producer in COVERED if not producer.answer], ids=str
)
def test_the_token_does_not_replace_a_signature(make, world, producer):
    """A request that claims to be signed must be signed, even with the right token."""
    keys = {**producer.keys, "token": "the-token-of-this-source"}
    hook = make(accept=[producer.envelope, "bare"], **keys)
    good = producer.send(world, NOW)
    where, name = producer.proofs[0]
    for value in corrupted(proof_of(good, where, name)):
        changed = CHANGES[where](good, name, value)
        changed = replace(changed, query={"token": "the-token-of-this-source"})
        assert_refused(hook, world, changed, producer.may_fetch[:1])


@every
@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_other_methods_are_refused(make_own, world, producer, method):
    good = replace(producer.send(world, NOW), method=method, body=b"")
    hook = make_own(producer)
    for where, name in producer.proofs:
        if where != "field":
            good = CHANGES[where](good, name, None)
    assert_refused(hook, world, good)


@every
def test_the_source_of_another_account_refuses_it(make_hook, world, producer):
    """The same envelope with the keys of another account."""
    keys = {
        "sns_topic_arns": ["arn:aws:sns:us-east-1:666666666666:uploads"],
        "smn_topic_urns": ["urn:smn:cn-north-4:666666666666:uploads"],
        "mns_topics": ["666666666/uploads"],
        "secret": "another secret",
        "token": "another token",
        "oidc_audience": "https://another.example.com/hooks/exports",
        "oidc_email": "another@other-project.iam.gserviceaccount.com",
        "entra_tenant": "11111111-1c2d-4b0e-9f6a-0d6c1b1f2a3b",
        "entra_audience": "api://another",
    }
    foreign_keys = {name: keys.get(name, value) for name, value in producer.keys.items()}
    hook = make_hook(fetch=world.fetch, accept=[producer.envelope], **foreign_keys)
    assert_refused(hook, world, producer.send(world, NOW))


def test_a_replay_fetches_nothing(make_own, world):
    """A replay reads a notification that was verified on arrival; it does not verify again."""
    for producer in PRODUCERS:
        if producer.answer is None:
            hook = make_own(producer)
            receipt = hook.accept(producer.send(world, NOW))
            world.fetched.clear()
            hook.intake.replay(receipt.notification)
            assert world.fetched == []


def test_a_queued_message_is_not_accepted_by_the_hook(make, world):
    """The queue controls who can write to it; the hook requires a proof for the same bytes."""
    hook = make(accept=["sns"], sns_topic_arns=["arn:aws:sns:us-east-1:123456789012:uploads"])
    queued = replace(PRODUCERS[0].send(world, NOW), origin=Origin.QUEUE, headers={})
    assert hook.intake.accept_queued(queued).events == 1
    hook = make(accept=["bare"], token="the-token-of-this-source")
    with pytest.raises(Unverified):
        hook.accept(with_header(queued, "authorization", bearer("x")["authorization"]))
