"""SNS: which messages are accepted, how subscriptions are confirmed, and which forgeries fail."""

import json
from datetime import timedelta

import pytest
from tokens import NOW, new_key, request

from relay.config.load import SourceSettings
from relay.errors import PermanentFailure, TemporaryFailure, Unverified
from relay.model import Verdict
from relay.outbound.fetch import Fetcher
from relay.sources.envelopes import ENVELOPES
from relay.sources.envelopes.sns import Sns
from tests.fake_internet import Reply
from tests.forged_urls import EVIL, certificate_urls
from tests.signers import ARN, SNS, SNS_PEM, Signer, confirm_sns, record, sns, stamp

OTHER = "arn:aws:sns:us-east-1:666666666666:uploads"


@pytest.fixture(scope="module")
def amazon(issuer_key):
    return Signer(issuer_key)


@pytest.fixture(scope="module")
def forger(stranger_key):
    return Signer(stranger_key)


@pytest.fixture
def world(internet, amazon, forger):
    """The host of SNS with a valid certificate, and other hosts with the forger's."""
    internet.serve(SNS, lambda request: amazon.pem)
    for host in (EVIL, f"{SNS}.{EVIL}", f"evil-{SNS}", "s3.us-east-1.amazonaws.com"):
        internet.serve(host, lambda request: forger.pem)
    return internet


@pytest.fixture
def fetcher(world):
    made = Fetcher(allow_private=world.allowed)
    yield made
    made.close()


@pytest.fixture
def hook(make_hook, fetcher):
    return make_hook(fetch=fetcher, accept=["sns"], sns_topic_arns=[ARN])


def arrives(message, headers=None, *, now=NOW):
    return request(message, headers, now=now)


def assert_refused(hook, incoming, *words):
    with pytest.raises(Unverified) as raised:
        hook.accept(incoming)
    assert not hook.stored()
    for word in words:
        assert word in str(raised.value)


def fetched_nothing(world):
    return world.names == [] and world.requests == []


# Valid messages


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [None, "Amazon S3 Notification", "", "带\nTimestamp\n的"])
def test_a_notification_of_a_listed_topic_is_accepted(hook, world, amazon, version, subject):
    receipt = hook.accept(arrives(sns(amazon, NOW, SignatureVersion=version, Subject=subject)))
    assert (receipt.events, receipt.answer) == (1, None)
    [stored] = hook.stored()
    assert (stored.verdict, stored.envelopes) == (Verdict.ACCEPTED, ("sns",))
    assert [fetch.path for fetch in world.requests] == [SNS_PEM]


def test_a_message_with_any_characters_is_accepted(hook, amazon):
    message = json.dumps(record("导出/a+b %2B.zip"), ensure_ascii=False)
    assert hook.accept(arrives(sns(amazon, NOW, Message=message))).events == 1


def test_a_signed_message_without_a_record_is_stored_as_unreadable(hook, amazon):
    hook.accept(arrives(sns(amazon, NOW, Message="hello")))
    [stored] = hook.stored()
    assert stored.verdict == Verdict.UNREADABLE


def test_the_certificate_is_fetched_once(hook, world, amazon):
    for number in range(5):
        hook.accept(arrives(sns(amazon, NOW, MessageId=str(number))))
    assert len(world.requests) == 1


def test_other_regions_and_china_use_other_hosts(hook, world, amazon):
    host = "sns.cn-north-1.amazonaws.com.cn"
    world.serve(host, lambda request: amazon.pem)
    hook.accept(arrives(sns(amazon, NOW, SigningCertURL=f"https://{host}{SNS_PEM}")))
    assert world.names == [host]


def test_hosts_of_another_partition_can_be_configured(make_hook, fetcher, world, amazon):
    host = "sns.eusc-de-east-1.amazonaws.eu"
    world.serve(host, lambda request: amazon.pem)
    incoming = arrives(sns(amazon, NOW, SigningCertURL=f"https://{host}{SNS_PEM}"))
    keys = {"fetch": fetcher, "accept": ["sns"], "sns_topic_arns": [ARN]}
    assert_refused(make_hook(**keys), incoming, "sns_hosts")
    make_hook(**keys, sns_hosts=["sns.*.amazonaws.eu"]).accept(incoming)


def test_without_topics_it_is_absent():
    assert Sns(SourceSettings(kind="s3")).missing_setting() == "sns_topic_arns"
    assert Sns(SourceSettings(kind="s3", sns_topic_arns=(ARN,))).missing_setting() is None
    names = list(ENVELOPES)
    assert names.index("sns") < names.index("cloudevents") < names.index("bare")


def test_it_is_recognised_by_header_or_fields(amazon):
    envelope = Sns(SourceSettings(kind="s3", sns_topic_arns=(ARN,)))
    typed = {"x-amz-sns-message-type": "Notification"}
    raw = {**typed, "x-amz-sns-rawdelivery": "true"}
    message = sns(amazon, NOW)
    assert envelope.recognises(arrives({}, typed))
    assert envelope.recognises(arrives(message))
    assert not envelope.recognises(arrives(record(), raw))
    assert not envelope.recognises(arrives(record()))
    assert not envelope.recognises(arrives([message]))
    assert not envelope.recognises(request(message, typed, method="OPTIONS"))
    confirming = {**raw, "x-amz-sns-message-type": "SubscriptionConfirmation"}
    assert envelope.recognises(arrives(message, confirming))


# The handshake


def test_a_subscription_is_confirmed_by_visiting_its_url(hook, world, amazon):
    receipt = hook.accept(arrives(sns(amazon, NOW, Type="SubscriptionConfirmation")))
    assert receipt.answer.status == 200
    fetches = [(fetch.method, fetch.host, fetch.path) for fetch in world.requests]
    assert fetches == [("GET", SNS, SNS_PEM), ("GET", SNS, confirm_sns().partition(SNS)[2])]
    [stored] = hook.stored()
    assert stored.verdict == Verdict.HANDSHAKE
    body = hook.ledger.history.notification(stored.id).body
    assert b"2336412f37fb687f" not in body, "who reads it could confirm in our place"


@pytest.mark.parametrize("status", [302, 400, 403, 500])
def test_a_subscription_that_cannot_be_confirmed_now_is_retried(hook, world, amazon, status):
    evil = {"Location": f"https://{EVIL}/"}
    world.serve(
        SNS,
        lambda request: amazon.pem if request.path == SNS_PEM else Reply(status, b"no", evil),
    )
    with pytest.raises(TemporaryFailure) as raised:
        hook.accept(arrives(sns(amazon, NOW, Type="SubscriptionConfirmation")))
    assert raised.value.code == "envelope.not_confirmed"
    assert not hook.stored()
    assert world.to(EVIL) == []


def test_an_unsubscribe_confirmation_is_stored_and_its_url_never_visited(hook, world, amazon):
    receipt = hook.accept(arrives(sns(amazon, NOW, Type="UnsubscribeConfirmation")))
    assert receipt.answer.status == 200
    assert [fetch.path for fetch in world.requests] == [SNS_PEM]
    assert [notification.verdict for notification in hook.stored()] == [Verdict.HANDSHAKE]


CONFIRMATIONS = {
    "plain http": f"http://{SNS}/?Action=ConfirmSubscription&TopicArn={ARN}&Token=1",
    "another host": confirm_sns(EVIL),
    "a look-alike": confirm_sns(f"{SNS}.{EVIL}"),
    "a user": confirm_sns(f"{SNS}@{EVIL}"),
    "a port": confirm_sns(f"{SNS}:8443"),
    "another topic": confirm_sns(topic=OTHER),
    "another action": f"https://{SNS}/?Action=Publish&TopicArn={ARN}&Message=x",
    "two actions": confirm_sns() + "&Action=Publish",
    "two topics": f"https://{SNS}/?TopicArn={OTHER}&Action=ConfirmSubscription&TopicArn={ARN}",
    "no query": f"https://{SNS}/",
    "a fragment": f"https://{SNS}/#?Action=ConfirmSubscription&TopicArn={ARN}",
    "nothing": "",
}


@pytest.mark.parametrize("url", CONFIRMATIONS.values(), ids=CONFIRMATIONS)
def test_only_a_url_of_sns_that_confirms_this_topic_is_visited(hook, world, amazon, url):
    message = sns(amazon, NOW, Type="SubscriptionConfirmation", SubscribeURL=url)
    assert_refused(hook, arrives(message), "asks for confirmation")
    assert fetched_nothing(world)


# Forgeries that are refused without a fetch

ADDRESSES = {
    **certificate_urls(SNS, SNS_PEM),
    "two regions": f"https://sns.us.east.amazonaws.com{SNS_PEM}",
    "short region": f"https://sns.us.amazonaws.com{SNS_PEM}",
    "no region": f"https://sns..amazonaws.com{SNS_PEM}",
    "another service": f"https://s3.us-east-1.amazonaws.com/evil{SNS_PEM}",
    "an action": f"https://{SNS}/?Action=Publish&x=/a.pem",
    "absent": None,
    "a number": 1,
    "a list": [f"https://{SNS}{SNS_PEM}"],
}


@pytest.mark.parametrize("url", ADDRESSES.values(), ids=ADDRESSES)
def test_a_certificate_outside_sns_is_never_fetched(hook, world, forger, url):
    assert_refused(hook, arrives(sns(forger, NOW, SigningCertURL=url)), "certificate")
    assert fetched_nothing(world)


BEFORE = {
    "another topic": {"TopicArn": OTHER},
    "a topic that begins alike": {"TopicArn": f"{ARN}-evil"},
    "a topic in capitals": {"TopicArn": ARN.upper()},
    "no topic": {"TopicArn": None, "x": "TopicArn"},
    "a list of topics": {"TopicArn": [ARN]},
    "stale": {"Timestamp": stamp(NOW - timedelta(hours=1, seconds=1))},
    "from the future": {"Timestamp": stamp(NOW + timedelta(hours=1, seconds=1))},
    "no time": {"Timestamp": None},
    "no time at all": {"Timestamp": "yesterday"},
    "an endless time": {"Timestamp": "9" * 5000},
    "a time as a number": {"Timestamp": 1764000000},
    "a type that is not known": {"Type": "Notice"},
    "a type as a list": {"Type": ["Notification"]},
    "no message": {"Message": None},
    "a message as an object": {"Message": record()},
    "no message id": {"MessageId": None},
    "a subject as an object": {"Subject": {"a": 1}},
    "version 3": {"SignatureVersion": "3"},
    "version as a number": {"SignatureVersion": 2},
    "version as a list": {"SignatureVersion": ["2"]},
    "no version": {"SignatureVersion": None},
    "no signature": {"Signature": None},
    "an empty signature": {"Signature": ""},
    "a signature that is not base64": {"Signature": "not base64!"},
    "a signature that is not text": {"Signature": ["AAAA"]},
    "a signature in another script": {"Signature": "签名"},
}


@pytest.mark.parametrize("fields", BEFORE.values(), ids=BEFORE)
def test_a_problem_that_needs_no_certificate_causes_no_fetch(hook, world, amazon, fields):
    typed = {"x-amz-sns-message-type": "Notification"}
    assert_refused(hook, arrives(sns(amazon, NOW, **fields), typed))
    assert fetched_nothing(world)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 10_000])
def test_a_body_that_only_its_header_calls_sns_is_refused(hook, world, body):
    assert_refused(hook, request(body, {"x-amz-sns-message-type": "Notification"}))
    assert fetched_nothing(world)


# Forgeries that only the signature reveals


CHANGES = {
    "the message": {"Message": json.dumps(record("prod/evil.zip"))},
    "the id": {"MessageId": "another"},
    "the time": {"Timestamp": stamp(NOW + timedelta(seconds=1))},
    "a subject added": {"Subject": "added"},
    "the type": {"Type": "SubscriptionConfirmation", "SubscribeURL": confirm_sns(), "Token": "1"},
    "the version": {"SignatureVersion": "1"},
    "a message that cannot be said": {"Message": "\ud800"},
    "another's signature": {"Signature": "AAAA"},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_a_message_changed_after_signing_is_refused(hook, world, amazon, changed):
    assert_refused(hook, arrives(sns(amazon, NOW) | changed), "wrong signature")
    assert [fetch.path for fetch in world.requests] == [SNS_PEM]


def test_a_subject_is_signed_when_there_is_one(hook, amazon):
    """A message whose signature leaves out the subject, as moto signs it, is not from SNS."""
    message = sns(amazon, NOW)
    assert_refused(hook, arrives({**message, "Subject": "unsigned"}))
    signed = sns(amazon, NOW, Subject="signed")
    del signed["Subject"]
    assert_refused(hook, arrives(signed))


def test_a_wrong_key_is_refused(hook, forger):
    assert_refused(hook, arrives(sns(forger, NOW)), "wrong signature")


def test_the_sender_cannot_choose_the_digest(hook, amazon):
    first = sns(amazon, NOW, SignatureVersion="1")
    assert_refused(hook, arrives({**first, "SignatureVersion": "2"}))


def test_text_cannot_be_moved_between_signed_fields(hook, amazon):
    """The same bytes are signed when a line break moves between two parts."""
    message = sns(amazon, NOW, Message="a", MessageId="b\nTimestamp\nc", TopicArn=OTHER)
    shifted = {**message, "MessageId": "b", "Timestamp": f"c\nTimestamp\n{message['Timestamp']}"}
    assert_refused(hook, arrives(shifted))
    assert_refused(hook, arrives({**message, "TopicArn": ARN}))


@pytest.mark.parametrize(
    "period",
    [
        {"ends": NOW - timedelta(seconds=1)},
        {"begins": NOW + timedelta(seconds=1)},
    ],
)
def test_a_certificate_must_be_valid_now(hook, world, issuer_key, period):
    out_of_date = Signer(issuer_key, **period)
    world.serve(SNS, lambda request: out_of_date.pem)
    assert_refused(hook, arrives(sns(out_of_date, NOW)), "certificate")


def test_a_signature_with_a_weak_key_is_refused(hook, world):
    weak_signer = Signer(new_key(1024))
    world.serve(SNS, lambda request: weak_signer.pem)
    assert_refused(hook, arrives(sns(weak_signer, NOW)), "too weak")


def test_a_certificate_that_redirects_is_not_followed(hook, world, forger):
    world.serve(SNS, lambda request: Reply(302, b"", {"Location": f"https://{EVIL}{SNS_PEM}"}))
    with pytest.raises(TemporaryFailure):
        hook.accept(arrives(sns(forger, NOW)))
    assert not hook.stored()
    assert world.to(EVIL) == []


@pytest.mark.parametrize(
    "reply", [Reply(403), Reply(500), Reply(200, b"no certificate"), Reply(200, b"")]
)
def test_a_certificate_that_cannot_be_fetched_now_is_a_temporary_failure(
    hook, world, amazon, reply
):
    world.serve(SNS, lambda request: reply)
    with pytest.raises(TemporaryFailure) as raised:
        hook.accept(arrives(sns(amazon, NOW)))
    assert raised.value.code == "envelope.no_certificate"
    assert not hook.stored()
    world.serve(SNS, lambda request: amazon.pem)
    later = NOW + timedelta(seconds=11)
    assert hook.accept(arrives(sns(amazon, NOW), now=later)).events == 1


def test_a_host_in_a_private_network_is_not_reached(make_hook, world, amazon):
    guarded = Fetcher()
    try:
        hook = make_hook(fetch=guarded, accept=["sns"], sns_topic_arns=[ARN])
        with pytest.raises(TemporaryFailure):
            hook.accept(arrives(sns(amazon, NOW)))
    finally:
        guarded.close()
    assert world.requests == []


def test_a_confirmation_that_the_guard_refuses_is_a_temporary_failure(make_hook, amazon):
    def fetch(url):
        if url.endswith(".pem"):
            return amazon.pem
        raise PermanentFailure("outbound.private", "not a public address")

    hook = make_hook(fetch=fetch, accept=["sns"], sns_topic_arns=[ARN])
    with pytest.raises(TemporaryFailure):
        hook.accept(arrives(sns(amazon, NOW, Type="SubscriptionConfirmation")))


# Replays, and weaker envelopes


def test_a_replay_in_time_is_harmless_and_a_late_one_is_refused(hook, amazon):
    message = sns(amazon, NOW)
    assert hook.accept(arrives(message)).events == 1
    again = hook.accept(arrives(message, now=NOW + timedelta(minutes=59)))
    assert again.events == 0
    with pytest.raises(Unverified):
        hook.accept(arrives(message, now=NOW + timedelta(minutes=61)))
    assert {notification.verdict for notification in hook.stored()} == {
        Verdict.DUPLICATE,
        Verdict.ACCEPTED,
    }
    assert len(hook.stored()) == 2


def test_the_maximum_age_can_be_configured(make_hook, fetcher, amazon):
    keys = {"fetch": fetcher, "accept": ["sns"], "sns_topic_arns": [ARN]}
    message = sns(amazon, NOW)
    later = arrives(message, now=NOW + timedelta(hours=3))
    assert_refused(make_hook(**keys), later)
    assert make_hook(**keys, max_age="4h").accept(later).events == 1


TYPED = {"x-amz-sns-message-type": "Notification"}
RAW = {**TYPED, "x-amz-sns-rawdelivery": "true"}


@pytest.mark.parametrize("headers", [{}, TYPED, RAW])
@pytest.mark.parametrize("escaped", [False, True])
def test_a_forgery_cannot_choose_a_weaker_envelope(
    make_hook, fetcher, world, forger, headers, escaped
):
    hook = make_hook(
        fetch=fetcher, accept=["sns", "bare"], sns_topic_arns=[ARN], token="hook-token"
    )
    body = json.dumps(sns(forger, NOW)).encode()
    if escaped:
        body = body.replace(b'"TopicArn"', b'"\\u0054opicArn"')
    assert_refused(hook, request(body, headers))
    assert_refused(hook, request(json.dumps(record()).encode(), headers))


def test_a_raw_delivery_is_bare_and_requires_the_token(make_hook, fetcher, world):
    hook = make_hook(
        fetch=fetcher, accept=["sns", "bare"], sns_topic_arns=[ARN], token="hook-token"
    )
    assert_refused(hook, arrives(record(), RAW), "token")
    bearer = {**RAW, "authorization": "Bearer hook-token"}
    assert hook.accept(arrives(record(), bearer)).events == 1
    assert [notification.envelopes for notification in hook.stored()] == [("bare",)]
    assert fetched_nothing(world)


def test_a_token_does_not_replace_a_valid_signature(make_hook, fetcher, forger):
    hook = make_hook(
        fetch=fetcher, accept=["sns", "bare"], sns_topic_arns=[ARN], token="hook-token"
    )
    assert_refused(hook, arrives(sns(forger, NOW), {"authorization": "Bearer hook-token"}))
