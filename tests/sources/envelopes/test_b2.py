"""Backblaze B2: a signature over the body; unsigned requests are refused."""

import json

import pytest
from tokens import bearer, request

from relay.config.load import SourceSettings
from relay.errors import Unreadable, Unverified
from relay.model import Verdict
from relay.sources.envelopes.b2 import B2
from tests.senders import B2_EVENT, B2_HEADER, b2, encoded

SECRET = "3XDfkdQte2OgA78qCtSD17LAzpj6ay9H"
KEYS = {"accept": ["b2", "bare"], "secret": SECRET, "token": "hook-token"}
BODY = encoded({"events": [B2_EVENT]})
GOOD = b2(SECRET, BODY)


@pytest.fixture
def hook(make_hook):
    return make_hook(**KEYS)


def assert_refused(hook, incoming, *words):
    with pytest.raises(Unverified) as raised:
        hook.accept(incoming)
    assert not hook.stored()
    assert SECRET not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


def test_the_vector_of_the_official_sdk_is_verified():
    event = {
        **B2_EVENT,
        "bucketName": "mySampleBucket",
        "objectName": "objectName.txt",
        "objectVersionId": "4_zaea8c5bc362ae55070130333_f117c7bd5d6c6597c_d20230521_m235957_c001"
        "_v0001044_t0052_u01684713597235",
    }
    body = json.dumps({"events": [event]}, indent=2).encode()
    digest = "8c8e2b5d8192d79cdc3161e6f12c958b13c7e3e6844057a97f653a29641812a9"
    envelope = B2(SourceSettings(kind="b2", secret=SECRET))
    incoming = request(body, {B2_HEADER: f"v1={digest}"})
    envelope.verify(incoming)
    assert list(envelope.unwrap(incoming)) == [event]


def test_a_signed_batch_is_unwrapped_into_events():
    batch = [{**B2_EVENT, "objectName": f"{number}.zip"} for number in range(50)]
    envelope = B2(SourceSettings(kind="b2", secret=SECRET))
    assert list(envelope.unwrap(request({"events": batch}))) == batch


@pytest.mark.parametrize(
    "signature",
    [
        "{good}",
        " {good} ",
        "{good},v1=00",
        "v1=00 , {good}",
        "v2=ffff,{good}",
        "v1=,{good}",
    ],
)
def test_one_valid_signature_of_several_is_enough(hook, signature):
    headers = {**GOOD, B2_HEADER: signature.format(good=GOOD[B2_HEADER])}
    hook.accept(request(BODY, headers))
    [stored] = hook.stored()
    assert stored.envelopes == ("b2",)
    assert stored.headers[B2_HEADER] == "[redacted]"


def test_a_secret_that_looks_like_base64_is_not_decoded(make_hook):
    secret = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0"
    hook = make_hook(accept=["b2"], secret=secret)
    hook.accept(request(BODY, b2(secret, BODY)))
    [stored] = hook.stored()
    assert stored.envelopes == ("b2",)


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        ",",
        "v1=",
        "v1",
        "{good[3:]}",
        "v2={good[3:]}",
        "v1={good[3:-1]}",
        "v1={good[3:]}0",
        "{good};v1=0",
        "V1 {good}",
        "v1=é",
    ],
)
@pytest.mark.parametrize("token", [False, True])
def test_other_signatures_are_refused_even_with_the_token(hook, signature, token):
    good = GOOD[B2_HEADER]
    headers = {**GOOD, **(bearer("hook-token") if token else {})}
    del headers[B2_HEADER]
    if signature is not None:
        signature = signature.replace("{good[3:]}", good[3:]).replace("{good[3:-1]}", good[3:-1])
        headers[B2_HEADER] = signature.replace("{good}", good)
    assert_refused(hook, request(BODY, headers))


def test_the_error_says_that_a_request_is_not_signed(hook):
    assert_refused(hook, request(BODY), "not signed", "signing secret")
    assert_refused(hook, request(BODY, b2("another secret", BODY)), "wrong signature")


def test_a_body_that_was_changed_is_refused(hook):
    for place in (0, len(BODY) // 2, len(BODY) - 1):
        changed = bytearray(BODY)
        changed[place] ^= 1
        assert_refused(hook, request(bytes(changed), GOOD))
    assert_refused(hook, request(BODY + b" ", GOOD))
    assert_refused(hook, request(b"", GOOD))


def test_an_empty_secret_verifies_no_request():
    for secret in (None, ""):
        envelope = B2(SourceSettings(kind="b2", secret=secret))
        assert envelope.missing_setting() == "secret"
        with pytest.raises(Unverified):
            envelope.verify(request(BODY, b2("", BODY)))


def test_without_a_secret_b2_is_refused(make_hook):
    hook = make_hook(accept=["b2"])
    assert_refused(hook, request(BODY, b2("", BODY)), "secret")


def test_with_only_a_token_configured_the_token_is_required(make_hook):
    """B2 can send custom headers, such as a token; such requests are bare."""
    hook = make_hook(accept=["b2", "bare"], token="hook-token")
    assert_refused(hook, request(BODY, GOOD))
    hook.accept(request(BODY, bearer("hook-token")))
    assert [notification.envelopes for notification in hook.stored()] == [("bare",)]


def test_other_requests_with_the_token_are_bare(hook):
    hook.accept(request({"Records": []}, bearer("hook-token")))
    assert [notification.envelopes for notification in hook.stored()] == [("bare",)]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b'{"events": []}', b'{"events": [1]}'])
def test_a_signed_but_unreadable_body_is_stored(hook, body):
    hook.accept(request(body, b2(SECRET, body)))
    assert [notification.verdict for notification in hook.stored()] == [Verdict.UNREADABLE]


def test_a_test_event_without_an_object_is_passed_on(hook):
    event = {"eventType": "b2:TestEvent", "eventVersion": 1, "bucketName": "exports"}
    incoming = request({"events": [event]})
    assert list(B2(SourceSettings(kind="b2", secret=SECRET)).unwrap(incoming)) == [event]


def test_an_empty_batch_is_unreadable():
    with pytest.raises(Unreadable):
        list(B2(SourceSettings(kind="b2", secret=SECRET)).unwrap(request({"events": []})))
