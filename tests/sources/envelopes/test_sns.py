"""SNS: whose messages are taken, how a subscription is confirmed, and what forgers try."""

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
    """Amazon's host with its certificate, and others with the forger's."""
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
def door(make_door, fetcher):
    return make_door(fetch=fetcher, accept=["sns"], sns_topic_arns=[ARN])


def arrives(message, headers=None, *, now=NOW):
    return request(message, headers, now=now)


def refused(door, incoming, *words):
    with pytest.raises(Unverified) as raised:
        door.accept(incoming)
    assert not door.kept()
    for word in words:
        assert word in str(raised.value)


def untouched(world):
    return world.names == [] and world.requests == []


# The good ones


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [None, "Amazon S3 Notification", "", "带\nTimestamp\n的"])
def test_a_notification_of_a_known_topic_is_taken(door, world, amazon, version, subject):
    receipt = door.accept(arrives(sns(amazon, NOW, SignatureVersion=version, Subject=subject)))
    assert (receipt.events, receipt.answer) == (1, None)
    [kept] = door.kept()
    assert (kept.verdict, kept.envelopes) == (Verdict.ACCEPTED, ("sns",))
    assert [one.path for one in world.requests] == [SNS_PEM]


def test_a_message_in_any_script_is_taken(door, amazon):
    message = json.dumps(record("导出/a+b %2B.zip"), ensure_ascii=False)
    assert door.accept(arrives(sns(amazon, NOW, Message=message))).events == 1


def test_what_is_signed_need_not_be_understood(door, amazon):
    door.accept(arrives(sns(amazon, NOW, Message="hello")))
    [kept] = door.kept()
    assert kept.verdict == Verdict.UNREADABLE


def test_the_certificate_is_fetched_once(door, world, amazon):
    for number in range(5):
        door.accept(arrives(sns(amazon, NOW, MessageId=str(number))))
    assert len(world.requests) == 1


def test_regions_and_china_have_hosts_of_their_own(door, world, amazon):
    host = "sns.cn-north-1.amazonaws.com.cn"
    world.serve(host, lambda request: amazon.pem)
    door.accept(arrives(sns(amazon, NOW, SigningCertURL=f"https://{host}{SNS_PEM}")))
    assert world.names == [host]


def test_another_partition_is_a_matter_of_settings(make_door, fetcher, world, amazon):
    host = "sns.eusc-de-east-1.amazonaws.eu"
    world.serve(host, lambda request: amazon.pem)
    incoming = arrives(sns(amazon, NOW, SigningCertURL=f"https://{host}{SNS_PEM}"))
    keys = {"fetch": fetcher, "accept": ["sns"], "sns_topic_arns": [ARN]}
    refused(make_door(**keys), incoming, "sns_hosts")
    make_door(**keys, sns_hosts=["sns.*.amazonaws.eu"]).accept(incoming)


def test_without_topics_it_is_absent():
    assert Sns(SourceSettings(kind="s3")).missing_setting() == "sns_topic_arns"
    assert Sns(SourceSettings(kind="s3", sns_topic_arns=(ARN,))).missing_setting() is None
    names = list(ENVELOPES)
    assert names.index("sns") < names.index("cloudevents") < names.index("bare")


def test_it_is_recognised_by_its_header_or_its_shape(amazon):
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


def test_a_subscription_is_confirmed_by_visiting_its_address(door, world, amazon):
    receipt = door.accept(arrives(sns(amazon, NOW, Type="SubscriptionConfirmation")))
    assert receipt.answer.status == 200
    asked = [(one.method, one.host, one.path) for one in world.requests]
    assert asked == [("GET", SNS, SNS_PEM), ("GET", SNS, confirm_sns().partition(SNS)[2])]
    [kept] = door.kept()
    assert kept.verdict == Verdict.HANDSHAKE
    body = door.ledger.history.notification(kept.id).body
    assert b"2336412f37fb687f" not in body, "who reads it could confirm in our place"


@pytest.mark.parametrize("status", [302, 400, 403, 500])
def test_one_that_cannot_be_confirmed_now_is_asked_for_again(door, world, amazon, status):
    evil = {"Location": f"https://{EVIL}/"}
    world.serve(
        SNS,
        lambda one: amazon.pem if one.path == SNS_PEM else Reply(status, b"no", evil),
    )
    with pytest.raises(TemporaryFailure) as raised:
        door.accept(arrives(sns(amazon, NOW, Type="SubscriptionConfirmation")))
    assert raised.value.code == "envelope.not_confirmed"
    assert not door.kept()
    assert world.to(EVIL) == []


def test_the_news_of_an_end_is_kept_and_its_address_never_visited(door, world, amazon):
    receipt = door.accept(arrives(sns(amazon, NOW, Type="UnsubscribeConfirmation")))
    assert receipt.answer.status == 200
    assert [one.path for one in world.requests] == [SNS_PEM]
    assert [one.verdict for one in door.kept()] == [Verdict.HANDSHAKE]


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
def test_only_sns_itself_is_visited_and_only_to_confirm_this_topic(door, world, amazon, url):
    message = sns(amazon, NOW, Type="SubscriptionConfirmation", SubscribeURL=url)
    refused(door, arrives(message), "asks for confirmation")
    assert untouched(world)


# Forgeries that are known before anything is fetched

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
def test_a_certificate_that_is_not_sns_own_is_never_fetched(door, world, forger, url):
    refused(door, arrives(sns(forger, NOW, SigningCertURL=url)), "certificate")
    assert untouched(world)


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


@pytest.mark.parametrize("said", BEFORE.values(), ids=BEFORE)
def test_what_is_wrong_without_a_signature_costs_no_fetch(door, world, amazon, said):
    typed = {"x-amz-sns-message-type": "Notification"}
    refused(door, arrives(sns(amazon, NOW, **said), typed))
    assert untouched(world)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 10_000])
def test_what_only_its_header_makes_sns_is_refused(door, world, body):
    refused(door, request(body, {"x-amz-sns-message-type": "Notification"}))
    assert untouched(world)


# Forgeries that only the signature tells


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
def test_what_was_changed_after_signing_is_refused(door, world, amazon, changed):
    refused(door, arrives(sns(amazon, NOW) | changed), "wrong signature")
    assert [one.path for one in world.requests] == [SNS_PEM]


def test_a_subject_is_signed_when_there_is_one(door, amazon):
    """Whoever leaves it out of what is signed, as moto does, is not SNS."""
    message = sns(amazon, NOW)
    refused(door, arrives({**message, "Subject": "unsigned"}))
    signed = sns(amazon, NOW, Subject="signed")
    del signed["Subject"]
    refused(door, arrives(signed))


def test_a_wrong_key_is_refused(door, forger):
    refused(door, arrives(sns(forger, NOW)), "wrong signature")


def test_a_digest_is_not_to_be_chosen(door, amazon):
    first = sns(amazon, NOW, SignatureVersion="1")
    refused(door, arrives({**first, "SignatureVersion": "2"}))


def test_parts_cannot_be_shifted_into_each_other(door, amazon):
    """The same bytes are signed when a line break moves between two parts."""
    message = sns(amazon, NOW, Message="a", MessageId="b\nTimestamp\nc", TopicArn=OTHER)
    shifted = {**message, "MessageId": "b", "Timestamp": f"c\nTimestamp\n{message['Timestamp']}"}
    refused(door, arrives(shifted))
    refused(door, arrives({**message, "TopicArn": ARN}))


@pytest.mark.parametrize(
    "period",
    [
        {"ends": NOW - timedelta(seconds=1)},
        {"begins": NOW + timedelta(seconds=1)},
    ],
)
def test_a_certificate_must_be_valid_now(door, world, issuer_key, period):
    out_of_date = Signer(issuer_key, **period)
    world.serve(SNS, lambda request: out_of_date.pem)
    refused(door, arrives(sns(out_of_date, NOW)), "certificate")


def test_a_key_that_others_can_break_proves_nothing(door, world):
    feeble = Signer(new_key(1024))
    world.serve(SNS, lambda request: feeble.pem)
    refused(door, arrives(sns(feeble, NOW)), "too weak")


def test_a_certificate_that_redirects_is_not_followed(door, world, forger):
    world.serve(SNS, lambda request: Reply(302, b"", {"Location": f"https://{EVIL}{SNS_PEM}"}))
    with pytest.raises(TemporaryFailure):
        door.accept(arrives(sns(forger, NOW)))
    assert not door.kept()
    assert world.to(EVIL) == []


@pytest.mark.parametrize(
    "reply", [Reply(403), Reply(500), Reply(200, b"no certificate"), Reply(200, b"")]
)
def test_a_certificate_that_cannot_be_had_now_is_waited_for(door, world, amazon, reply):
    world.serve(SNS, lambda request: reply)
    with pytest.raises(TemporaryFailure) as raised:
        door.accept(arrives(sns(amazon, NOW)))
    assert raised.value.code == "envelope.no_certificate"
    assert not door.kept()
    world.serve(SNS, lambda request: amazon.pem)
    later = NOW + timedelta(seconds=11)
    assert door.accept(arrives(sns(amazon, NOW), now=later)).events == 1


def test_a_host_inside_our_own_network_is_not_asked(make_door, world, amazon):
    guarded = Fetcher()
    try:
        door = make_door(fetch=guarded, accept=["sns"], sns_topic_arns=[ARN])
        with pytest.raises(TemporaryFailure):
            door.accept(arrives(sns(amazon, NOW)))
    finally:
        guarded.close()
    assert world.requests == []


def test_a_guard_that_refuses_a_confirmation_is_told_to_the_sender_as_waiting(make_door, amazon):
    def fetch(url):
        if url.endswith(".pem"):
            return amazon.pem
        raise PermanentFailure("outbound.private", "not a public address")

    door = make_door(fetch=fetch, accept=["sns"], sns_topic_arns=[ARN])
    with pytest.raises(TemporaryFailure):
        door.accept(arrives(sns(amazon, NOW, Type="SubscriptionConfirmation")))


# Replays, and weaker doors


def test_a_replay_in_time_is_harmless_and_a_late_one_is_refused(door, amazon):
    message = sns(amazon, NOW)
    assert door.accept(arrives(message)).events == 1
    again = door.accept(arrives(message, now=NOW + timedelta(minutes=59)))
    assert again.events == 0
    with pytest.raises(Unverified):
        door.accept(arrives(message, now=NOW + timedelta(minutes=61)))
    assert {one.verdict for one in door.kept()} == {Verdict.DUPLICATE, Verdict.ACCEPTED}
    assert len(door.kept()) == 2


def test_how_old_a_message_may_be_is_a_setting(make_door, fetcher, amazon):
    keys = {"fetch": fetcher, "accept": ["sns"], "sns_topic_arns": [ARN]}
    message = sns(amazon, NOW)
    later = arrives(message, now=NOW + timedelta(hours=3))
    refused(make_door(**keys), later)
    assert make_door(**keys, max_age="4h").accept(later).events == 1


TYPED = {"x-amz-sns-message-type": "Notification"}
RAW = {**TYPED, "x-amz-sns-rawdelivery": "true"}


@pytest.mark.parametrize("headers", [{}, TYPED, RAW])
@pytest.mark.parametrize("escaped", [False, True])
def test_a_forger_gains_nothing_by_choosing_the_weaker_door(
    make_door, fetcher, world, forger, headers, escaped
):
    door = make_door(
        fetch=fetcher, accept=["sns", "bare"], sns_topic_arns=[ARN], token="hook-token"
    )
    body = json.dumps(sns(forger, NOW)).encode()
    if escaped:
        body = body.replace(b'"TopicArn"', b'"\\u0054opicArn"')
    refused(door, request(body, headers))
    refused(door, request(json.dumps(record()).encode(), headers))


def test_a_raw_delivery_is_bare_and_needs_the_token(make_door, fetcher, world):
    door = make_door(
        fetch=fetcher, accept=["sns", "bare"], sns_topic_arns=[ARN], token="hook-token"
    )
    refused(door, arrives(record(), RAW), "token")
    bearer = {**RAW, "authorization": "Bearer hook-token"}
    assert door.accept(arrives(record(), bearer)).events == 1
    assert [one.envelopes for one in door.kept()] == [("bare",)]
    assert untouched(world)


def test_a_token_does_not_make_up_for_a_wrong_signature(make_door, fetcher, forger):
    door = make_door(
        fetch=fetcher, accept=["sns", "bare"], sns_topic_arns=[ARN], token="hook-token"
    )
    refused(door, arrives(sns(forger, NOW), {"authorization": "Bearer hook-token"}))
