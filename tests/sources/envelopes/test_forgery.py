"""What forgers try, at every envelope alike: all of it is refused, and nothing of it is kept.

The table of good requests is tests/producers.py. What one envelope alone has (its topics, its
certificate's address) is in its own tests; here are the tricks that work on any.
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
EVERY_KEY = {name: one for each in PRODUCERS for name, one in each.keys.items()}
DATED = [one for one in PRODUCERS if one.dated]
COVERED = [one for one in PRODUCERS if one.covers]

every = pytest.mark.parametrize("producer", PRODUCERS, ids=str)
dated = pytest.mark.parametrize("producer", DATED, ids=str)
covered = pytest.mark.parametrize("producer", COVERED, ids=str)


@pytest.fixture
def world(issuer_key):
    return World(issuer_key)


@pytest.fixture
def stranger(stranger_key):
    """Who signs as well, but is nobody to us."""
    return World(stranger_key)


@pytest.fixture
def make(make_door, world):
    return lambda **keys: make_door(fetch=world.fetch, **keys)


@pytest.fixture
def make_own(make):
    """A door that takes what the producer sends, and nothing else."""
    return lambda producer: make(accept=[producer.envelope], **producer.keys)


def refused(door, world, request, may_fetch=()):
    """`may_fetch`: what is asked for once all pins have passed; nothing else ever is."""
    with pytest.raises(Unverified):
        door.accept(request)
    assert not door.kept(), "something of a forgery was kept"
    assert set(world.fetched) <= set(may_fetch), "somebody was asked for the forger's sake"


def with_header(request, name, value):
    headers = {**request.headers, name: value}
    return replace(request, headers={one: it for one, it in headers.items() if it is not None})


def with_field(request, name, value):
    said = {**json.loads(request.body), name: value}
    told = {one: it for one, it in said.items() if it is not None}
    return replace(request, body=json.dumps(told).encode())


def with_query(request, name, value):
    asked = {one: it for one, it in {**request.query, name: value}.items() if it is not None}
    raw = "&".join(f"{one}={it}" for one, it in asked.items())
    return replace(request, query=asked, raw_query=raw)


CHANGES = {"header": with_header, "field": with_field, "query": with_query}


def proof_of(request, where, name):
    held = {"header": request.headers, "query": request.query}
    return held[where][name] if where in held else json.loads(request.body)[name]


def spoiled(text):
    """The text with one of its last characters changed, each in turn. The very last ones of base64
    hold bits that mean nothing."""
    for place in range(max(0, len(text) - 15), len(text) - 3):
        other = "5" if text[place] != "5" else "7"
        yield text[:place] + other + text[place + 1 :]


def test_every_envelope_is_in_the_table():
    assert {one.envelope for one in PRODUCERS} == set(ENVELOPES)


@every
def test_the_good_request_is_taken(make_own, world, producer):
    door = make_own(producer)
    receipt = door.accept(producer.send(world, NOW))
    assert [one.envelopes for one in door.kept()] == [(producer.envelope,)]
    assert set(world.fetched) == set(producer.may_fetch)
    assert (receipt.answer.body if receipt.answer else None) == producer.answer


@every
def test_without_a_proof_it_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    door = make_own(producer)
    for where, name in producer.proofs:
        for value in (None, ""):
            refused(door, world, CHANGES[where](good, name, value))


@every
def test_with_a_spoiled_proof_it_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    door = make_own(producer)
    for where, name in producer.proofs:
        for value in spoiled(proof_of(good, where, name)):
            refused(door, world, CHANGES[where](good, name, value), producer.may_fetch[:1])


@every
def test_with_a_proof_of_another_kind_it_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    door = make_own(producer)
    for where, name in producer.proofs:
        for value in ("null", "0", "Bearer ", "Bearer null", "v1=", "v1,", "=", "A" * 10_000):
            refused(door, world, CHANGES[where](good, name, value), producer.may_fetch[:1])


@every
def test_signed_by_somebody_else_it_is_refused(make, world, stranger, producer):
    """The same, with another key, secret or token."""
    door = make(accept=[producer.envelope], **strange(producer.keys))
    refused(door, world, producer.send(stranger, NOW), producer.may_fetch[:1])


def strange(keys):
    """The keys of a source whose secrets are others, and all else as the sender has it."""
    return {
        name: f"other-{one}" if name in ("token", "secret") else one for name, one in keys.items()
    }


@covered
def test_a_changed_body_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    door = make_own(producer)
    if producer.covers == "fields":
        said = json.loads(good.body)
        changed = [with_field(good, name, f"{said[name]} ") for name in producer.covered]
        changed += [with_field(good, name, None) for name in producer.covered]
    else:
        places = range(0, len(good.body), max(1, len(good.body) // 40))
        changed = [replace(good, body=flipped(good.body, place)) for place in places]
        changed += [replace(good, body=body) for body in (b"", good.body + b" ", good.body[:-1])]
    for one in changed:
        refused(door, world, one, producer.may_fetch[:1])


def flipped(body, place):
    changed = bytearray(body)
    changed[place] ^= 1
    return bytes(changed)


@every
def test_a_changed_header_that_is_signed_is_refused(make_own, world, producer):
    good = producer.send(world, NOW)
    door = make_own(producer)
    for name in producer.signs:
        for value in (None, f"{good.headers[name]}1"):
            changed = with_header(good, name, value)
            refused(door, world, changed, producer.may_fetch[:1])


@dated
@pytest.mark.parametrize("late", [HOUR + 61 * SECOND, DAY, 400 * DAY])
def test_what_comes_late_is_refused_before_anybody_is_asked(make_own, world, producer, late):
    """A good request that was overheard, and is sent again."""
    refused(make_own(producer), world, replace(producer.send(world, NOW), received=NOW + late))


@dated
def test_what_is_dated_in_the_future_is_refused_before_anybody_is_asked(make_own, world, producer):
    good = producer.send(world, NOW + HOUR + 61 * SECOND)
    refused(make_own(producer), world, replace(good, received=NOW))


@every
def test_a_source_without_the_keys_does_not_take_it(make, world, producer):
    """An envelope is not permissive for want of what it verifies by: it is not there."""
    refused(make(accept=[producer.envelope]), world, producer.send(world, NOW))
    refused(make(accept=list(ENVELOPES)), world, producer.send(world, NOW))


@every
def test_an_envelope_without_its_keys_knows_nobody(world, producer):
    one = ENVELOPES[producer.envelope](SourceSettings(kind="s3"), world.fetch)
    assert one.missing_setting()
    with pytest.raises(Unverified):
        one.verify(producer.send(world, NOW))
    assert world.fetched == []


@every
def test_a_source_of_bare_records_does_not_take_it(make, world, producer):
    """With another's token, and without one: whatever else the sender shows counts for nothing."""
    door = make(accept=["bare"], token="the-token-of-this-source")
    refused(door, world, producer.send(world, NOW))


@pytest.mark.parametrize(
    ("producer", "other"),
    [pair for pair in product(PRODUCERS, PRODUCERS) if pair[0].envelope != pair[1].envelope],
    ids=str,
)
def test_a_source_of_another_envelope_does_not_take_it(make, world, producer, other):
    door = make(accept=[other.envelope], **other.keys)
    refused(door, world, producer.send(world, NOW), other.may_fetch[:1])


@every
def test_the_sender_cannot_choose_a_weaker_envelope(make, world, producer):
    """Where everything is taken: without its proof it is no bare record from anybody."""
    good = producer.send(world, NOW)
    door = make(accept=list(ENVELOPES), **EVERY_KEY | {"token": "the-token-of-this-source"})
    for where, name in producer.proofs:
        refused(door, world, CHANGES[where](good, name, None))
        good = CHANGES[where](good, name, None)
    # Nor when nothing is left by which it would be recognised.
    naked = incoming(good.body, {"content-type": "application/json"})
    refused(door, world, naked)
    refused(door, world, replace(naked, headers={}))


@pytest.mark.parametrize("producer", [one for one in COVERED if not one.answer], ids=str)
def test_the_token_is_no_way_around_a_signature(make, world, producer):
    """Not even for who knows the token: what says that it is signed must be signed."""
    keys = {**producer.keys, "token": "the-token-of-this-source"}
    door = make(accept=[producer.envelope, "bare"], **keys)
    good = producer.send(world, NOW)
    where, name = producer.proofs[0]
    for value in spoiled(proof_of(good, where, name)):
        changed = CHANGES[where](good, name, value)
        changed = replace(changed, query={"token": "the-token-of-this-source"})
        refused(door, world, changed, producer.may_fetch[:1])


@every
@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
def test_other_methods_open_no_door(make_own, world, producer, method):
    good = replace(producer.send(world, NOW), method=method, body=b"")
    door = make_own(producer)
    for where, name in producer.proofs:
        if where != "field":
            good = CHANGES[where](good, name, None)
    refused(door, world, good)


@every
def test_a_source_that_is_not_its_own_does_not_take_it(make_door, world, producer):
    """The same envelope, the keys of somebody else's account."""
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
    theirs = {name: keys.get(name, one) for name, one in producer.keys.items()}
    door = make_door(fetch=world.fetch, accept=[producer.envelope], **theirs)
    refused(door, world, producer.send(world, NOW))


def test_a_replay_by_hand_asks_nobody(make_own, world):
    """It reads what was verified when it came; it does not verify again."""
    for producer in PRODUCERS:
        if producer.answer is None:
            door = make_own(producer)
            receipt = door.accept(producer.send(world, NOW))
            world.fetched.clear()
            door.intake.replay(receipt.notification)
            assert world.fetched == []


def test_a_queue_is_no_hook(make, world):
    """What is pulled was let in by the queue; the same bytes at the hook are not."""
    door = make(accept=["sns"], sns_topic_arns=["arn:aws:sns:us-east-1:123456789012:uploads"])
    queued = replace(PRODUCERS[0].send(world, NOW), road=Origin.QUEUE, headers={})
    assert door.intake.accept_queued(queued).events == 1
    door = make(accept=["bare"], token="the-token-of-this-source")
    with pytest.raises(Unverified):
        door.accept(with_header(queued, "authorization", bearer("x")["authorization"]))
