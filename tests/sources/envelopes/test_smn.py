"""SMN: which messages are accepted, how subscriptions are confirmed, and which forgeries fail."""

import json
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from tokens import NOW, new_key, request

from relay.config.load import SourceSettings
from relay.errors import TemporaryFailure, Unverified
from relay.model import Verdict
from relay.outbound.fetch import Fetcher
from relay.sources.envelopes.smn import Smn
from tests.fake_internet import Reply
from tests.forged_urls import EVIL, certificate_urls
from tests.signers import CONSOLE, SMN, SMN_PEM, URN, Signer, confirm_smn, record, smn, stamp

OTHER = "urn:smn:cn-north-4:66666666666666666666666666666666:uploads"


@pytest.fixture(scope="module")
def huawei(issuer_key):
    return Signer(issuer_key)


@pytest.fixture(scope="module")
def forger(stranger_key):
    return Signer(stranger_key)


@pytest.fixture
def world(internet, huawei, forger):
    """Huawei's hosts, and others with the forger's certificate."""
    internet.serve(SMN, lambda request: huawei.pem)
    internet.serve(CONSOLE, lambda request: b"confirmed")
    others = (EVIL, f"{SMN}.{EVIL}", f"evil-{SMN}", f"evil.{SMN}")
    for host in (*others, "smn.cn-south-1.myhuaweicloud.com"):
        internet.serve(host, lambda request: forger.pem)
    return internet


@pytest.fixture
def fetcher(world):
    made = Fetcher(allow_private=world.allowed)
    yield made
    made.close()


@pytest.fixture
def keys(fetcher):
    return {"fetch": fetcher, "accept": ["smn"], "smn_topic_urns": [URN]}


@pytest.fixture
def hook(make_hook, keys):
    return make_hook(**keys)


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


@pytest.mark.parametrize("subject", [None, "SMN", "", "主题"])
@pytest.mark.parametrize("sign_empty", [False, True])
def test_a_notification_of_a_listed_topic_is_accepted(hook, world, huawei, subject, sign_empty):
    """Huawei's samples sign an empty subject; the guide does not."""
    receipt = hook.accept(arrives(smn(huawei, NOW, subject=subject, sign_empty=sign_empty)))
    assert (receipt.events, receipt.answer) == (1, None)
    [stored] = hook.stored()
    assert (stored.verdict, stored.envelopes) == (Verdict.ACCEPTED, ("smn",))
    assert [fetch.path for fetch in world.requests] == [SMN_PEM]


HUAWEI = b"""-----BEGIN CERTIFICATE-----
MIIDWTCCAkGgAwIBAgIIdv23u/vU1zcwDQYJKoZIhvcNAQELBQAwODELMAkGA1UE
BhMCQ04xDzANBgNVBAoTBkh1YXdlaTEYMBYGA1UEAxMPSHVhd2VpIENsb3VkIENB
MB4XDTIwMDkwOTA2NDAwNFoXDTMwMDkwNzA2NDAwNFowPzELMAkGA1UEBhMCQ04x
DzANBgNVBAoTBkh1YXdlaTEfMB0GA1UEAxMWSHVhd2VpLUNsb3VkLVNNTi1NZXRl
cjCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAOunOsnncSp53UP4xetr
A4tHiRj6kldrmyx5gYB/zbGblfwHDvh7Pw9633iq0y1ZwfE0yVu7mNAwdAAo1u7X
lvO+ZLJkBsOjg2BU/BD7VfsVV7YJ51u467G0D7U8Qz8gIqsTbU1iT3koyNuUPmKe
9J0bhKdR8wy6xuROWh/5Ec0y2n28FqIDXP91udkYgrXhasmejLwx4saRFaVl6nPE
MOOWyrFDtU5bKWj8wZUwhRAuIeUVxu4TRxLu+zyuXk1Y4mG1RCDpIf5XsgDeitMr
TsrdjuxEsgRTDCVl6WVEojzBv/AccLoBrbHFa+Pppp8/RDvDhuQrxizp+K4zSunQ
iukCAwEAAaNgMF4wHwYDVR0jBBgwFoAU9JLn3OgwPepGkfxQ4xg4L8UVUSswDAYD
VR0TBAUwAwEBADAOBgNVHQ8BAf8EBAMCA6gwHQYDVR0lBBYwFAYIKwYBBQUHAwEG
CCsGAQUFBwMCMA0GCSqGSIb3DQEBCwUAA4IBAQALQt+Fy2yOs/Z7PL0xq2g8lWx0
7zNaUcYYdFcZeiwfuLSTOeFJiPFKyAsN7Bl7wIjFT8ZsHDhBJE5bkYnjdYxO1jnq
xCeNDErlP0nD7j+p5YZMtMWv/vPod3EBQ4z5ThNvAljeSx9iQKL0HL7lxOJ4ssId
zsFlSZCdkRbNQb4Vb8r72J0Yu8hiSUTvvIMERTBzYtTFUTTmJz4oX5HvBj4KEycF
RWjrNp6g82RRcSEPQl8XeoqOAiCSr1ddsTLQDqWgKWA68Tc64LPMxG3BC2cl0GrK
Ilqom+ZuaR05jslMr7jSCQwUcLIk0Loxv2YYrE9Yqju/v2s8LKXwiLVsxxTU
-----END CERTIFICATE-----
"""
REAL = "urn:smn:cn-north-4:477a784601d744e4ab9ab83986502d31:CES_notification_group_bngJ2aMpX"


def test_a_captured_message_is_verified_with_the_published_certificate(make_hook, keys, world):
    """The certificate is from the SMN user guide, smn_ug_a9000. The message was sent in 2025 to
    a test of Apache HertzBeat; the subscription no longer exists."""
    world.serve(SMN, lambda request: HUAWEI)
    message = {
        "type": "SubscriptionConfirmation",
        "topic_urn": REAL,
        "message_id": "242fac183d3a4936b5ead6c725a32ed0",
        "message": f"You are invited to subscribe to topic: {REAL}. To confirm this subscription, "
        "please visit the subscribe_url included in this message. The subscribe_url is valid only "
        "within 48 hours.",
        "subscribe_url": f"https://{CONSOLE}/smn/subscription/confirm?token="
        "477a784601d744e4ab9ab83986502d31c4b9380ec0b64392b134e517c3aa17eb7b3a12dc9f3b4ab495e61c4d"
        f"ee654b435d7223ea934345bf8ae8901cef912b1d&topic_urn={REAL}&region=cn-north-4",
        "signing_cert_url": f"https://{SMN}{SMN_PEM}",
        "timestamp": "2025-06-07T15:07:14Z",
        "signature": "ottf37C/2RdDgqimRQMIBU6i7XjUfPPMU760jJn71wwP3825YPoIT22uw2A9399rkm9Jrt1qUEFr"
        "DLuA5yHFLd5n/XoM4FghIgyFn7VIfgpuVM31a+co78sYBiZ1egOCE/AwFm2oygRhfIceUj9Kw9vmc06el9TXY6RtE"
        "5tAEF6qEmICtTh45KwtCO/WRs3DY72dQi5hm0w7/tktS4WFZ1iP4LHt5eCwFvnH0u29Y96cJNI0fLUQxI5MkhgjK7"
        "7JkFK7UT6ZYJZhzgSp/B7OQGStOQx+3Duvx4T4CzccZQM3sca81Z0B0GFGWeVXuEHyCPLsayY/Iz+5Tco51elT8w"
        "==",
    }
    sent = datetime.fromisoformat("2025-06-07T15:07:15Z")
    real = make_hook(**{**keys, "smn_topic_urns": [REAL]})
    assert real.accept(arrives(message, now=sent)).answer.status == 200
    assert [fetch.host for fetch in world.requests] == [SMN, CONSOLE]


def test_a_signed_message_without_a_record_is_stored_as_unreadable(hook, huawei):
    """OBS sends a test message when the rule is created."""
    hook.accept(arrives(smn(huawei, NOW, message="test")))
    assert [notification.verdict for notification in hook.stored()] == [Verdict.UNREADABLE]


def test_an_eventgrid_event_in_the_message_is_unwrapped_unchanged(huawei):
    event = {"specversion": "1.0", "type": "OBS:DWR:ObjectCreated:PUT", "id": "1"}
    incoming = arrives(smn(huawei, NOW, message=json.dumps(event)))
    assert list(Smn(SourceSettings(kind="obs")).unwrap(incoming)) == [event]


def test_hosts_of_another_cloud_can_be_configured(make_hook, keys, world, huawei):
    host = "smn.eu-de.otc.t-systems.com"
    urn = URN.replace("cn-north-4", "eu-de")
    world.serve(host, lambda request: huawei.pem)
    url = f"https://{host}{SMN_PEM.replace('cn-north-4', 'eu-de')}"
    incoming = arrives(smn(huawei, NOW, topic_urn=urn, signing_cert_url=url))
    keys["smn_topic_urns"] = [urn]
    assert_refused(make_hook(**keys), incoming, "smn_hosts")
    assert fetched_nothing(world)
    make_hook(**keys, smn_hosts=["smn.*.otc.t-systems.com"]).accept(incoming)


def test_without_topics_it_is_absent():
    assert Smn(SourceSettings(kind="obs")).missing_setting() == "smn_topic_urns"
    assert Smn(SourceSettings(kind="obs", smn_topic_urns=(URN,))).missing_setting() is None


def test_it_is_recognised_by_header_or_fields(huawei):
    envelope = Smn(SourceSettings(kind="obs", smn_topic_urns=(URN,)))
    assert envelope.recognises(arrives({}, {"x-smn-message-type": "Notification"}))
    assert envelope.recognises(arrives(smn(huawei, NOW)))
    assert not envelope.recognises(arrives(record()))


def test_a_configured_header_is_a_second_factor(make_hook, keys, world, huawei):
    hook = make_hook(**keys, token="hook-token", token_header="X-Relay-Token")
    message = smn(huawei, NOW)
    for headers in ({}, {"x-relay-token": "wrong"}, {"x-relay-token": ""}):
        assert_refused(hook, arrives(message, headers), "token")
    assert fetched_nothing(world)
    assert hook.accept(arrives(message, {"x-relay-token": "hook-token"})).events == 1


def test_a_token_without_a_configured_header_is_for_other_senders(make_hook, keys, huawei):
    hook = make_hook(**keys, token="hook-token")
    assert hook.accept(arrives(smn(huawei, NOW))).events == 1


# The handshake


def test_a_subscription_is_confirmed_by_visiting_its_url(hook, world, huawei):
    receipt = hook.accept(arrives(smn(huawei, NOW, type="SubscriptionConfirmation")))
    assert receipt.answer.status == 200
    fetches = [(fetch.method, fetch.host, fetch.path) for fetch in world.requests]
    assert fetches == [
        ("GET", SMN, SMN_PEM),
        ("GET", CONSOLE, confirm_smn().partition(CONSOLE)[2]),
    ]
    [stored] = hook.stored()
    assert stored.verdict == Verdict.HANDSHAKE
    body = hook.ledger.history.notification(stored.id).body
    assert b"0a419ac94f80f2c62f14c01e34ae5dfc" not in body, "who reads it could confirm it"


def test_the_confirmation_host_of_a_region_can_be_configured(make_hook, keys, world, huawei):
    host = "sa-brazil-1-console.huaweicloud.com"
    world.serve(host, lambda request: b"")
    message = smn(huawei, NOW, type="SubscriptionConfirmation", subscribe_url=confirm_smn(host))
    assert_refused(make_hook(**keys), arrives(message), "smn_confirm_hosts")
    assert fetched_nothing(world)
    make_hook(**keys, smn_confirm_hosts=["*-console.huaweicloud.com"]).accept(arrives(message))
    assert len(world.to(host)) == 1


def test_a_subscription_that_cannot_be_confirmed_now_is_retried(hook, world, huawei):
    world.serve(CONSOLE, lambda request: Reply(500))
    with pytest.raises(TemporaryFailure) as raised:
        hook.accept(arrives(smn(huawei, NOW, type="SubscriptionConfirmation")))
    assert raised.value.code == "envelope.not_confirmed"
    assert not hook.stored()


def test_an_unsubscribe_confirmation_is_stored_and_its_url_never_visited(hook, world, huawei):
    receipt = hook.accept(arrives(smn(huawei, NOW, type="UnsubscribeConfirmation")))
    assert receipt.answer.status == 200
    assert [fetch.path for fetch in world.requests] == [SMN_PEM]
    assert [notification.verdict for notification in hook.stored()] == [Verdict.HANDSHAKE]


CONFIRMATIONS = {
    "plain http": confirm_smn().replace("https", "http"),
    "another host": confirm_smn(EVIL),
    "a look-alike": confirm_smn(f"{CONSOLE}.{EVIL}"),
    "a user": confirm_smn(f"{CONSOLE}@{EVIL}"),
    "a port": confirm_smn(f"{CONSOLE}:8443"),
    "another topic": confirm_smn(topic=OTHER),
    "two topics": f"{confirm_smn()}&topic_urn={OTHER}",
    "no topic": f"https://{CONSOLE}/smn/subscription/confirm?token=1",
    "another path": confirm_smn().replace("/confirm", "/unsubscribe"),
    "up and away": confirm_smn().replace("/confirm", "/confirm/../unsubscribe"),
    "an escaped path": confirm_smn().replace("/confirm", "/confirm%2f..%2funsubscribe"),
    "a longer name": confirm_smn().replace("/confirm", "/confirm.evil"),
    "a fragment": confirm_smn().replace("?", "#?"),
    "nothing": "",
}


@pytest.mark.parametrize("url", CONFIRMATIONS.values(), ids=CONFIRMATIONS)
def test_only_a_console_url_that_confirms_this_topic_is_visited(hook, world, huawei, url):
    message = smn(huawei, NOW, type="SubscriptionConfirmation", subscribe_url=url)
    assert_refused(hook, arrives(message))
    assert fetched_nothing(world)


# Forgeries that are refused without a fetch

SOUTH = "smn.cn-south-1.myhuaweicloud.com"
ADDRESSES = {
    **certificate_urls(SMN, SMN_PEM),
    "another region": f"https://{SOUTH}{SMN_PEM}",
    "another region in both": f"https://{SOUTH}{SMN_PEM.replace('cn-north-4', 'cn-south-1')}",
    "another region in the path": f"https://{SMN}{SMN_PEM.replace('cn-north-4', 'cn-south-1')}",
    "another folder": f"https://{SMN}/evil/{SMN_PEM.rpartition('/')[2]}",
    "no hexadecimal": f"https://{SMN}/smn/SMN_cn-north-4_evil.pem",
    "short hexadecimal": f"https://{SMN}/smn/SMN_cn-north-4_b981.pem",
    "absent": None,
    "a number": 1,
}


@pytest.mark.parametrize("url", ADDRESSES.values(), ids=ADDRESSES)
def test_a_certificate_outside_smn_is_never_fetched(hook, world, forger, url):
    assert_refused(hook, arrives(smn(forger, NOW, signing_cert_url=url)), "certificate")
    assert fetched_nothing(world)


@pytest.mark.parametrize("digits", ["b98100ca131b4116ab8ee7ccedbaae99", "0" * 16, "AB" * 32])
def test_certificate_names_of_other_lengths_are_accepted(hook, world, huawei, digits):
    url = f"https://{SMN}/smn/SMN_cn-north-4_{digits}.pem"
    assert hook.accept(arrives(smn(huawei, NOW, signing_cert_url=url))).events == 1


BEFORE = {
    "another topic": {"topic_urn": OTHER},
    "a topic that begins alike": {"topic_urn": f"{URN}-evil"},
    "no topic": {"topic_urn": None},
    "a list of topics": {"topic_urn": [URN]},
    "stale": {"timestamp": stamp(NOW - timedelta(hours=1, seconds=1))},
    "from the future": {"timestamp": stamp(NOW + timedelta(hours=1, seconds=1))},
    "no time": {"timestamp": None},
    "no time at all": {"timestamp": "yesterday"},
    "a type that is not known": {"type": "notification"},
    "no message": {"message": None},
    "a message as an object": {"message": record()},
    "a subject as a number": {"subject": 1},
    "version 2": {"signature_version": "v2"},
    "version as a number": {"signature_version": 1},
    "no signature": {"signature": None},
    "an empty signature": {"signature": ""},
    "a signature that is not base64": {"signature": "not base64!"},
    "a signature that is not text": {"signature": 1},
}


@pytest.mark.parametrize("fields", BEFORE.values(), ids=BEFORE)
def test_a_problem_that_needs_no_certificate_causes_no_fetch(hook, world, huawei, fields):
    typed = {"x-smn-message-type": "Notification"}
    assert_refused(hook, arrives(smn(huawei, NOW, **fields), typed))
    assert fetched_nothing(world)


@pytest.mark.parametrize("urn", ["urn:smn::1:uploads", "uploads", "urn:smn:a/b:1:uploads"])
def test_a_topic_without_a_region_is_refused(make_hook, keys, world, forger, urn):
    hook = make_hook(**{**keys, "smn_topic_urns": [urn]}, smn_hosts=["smn.*.myhuaweicloud.com"])
    for url in (f"https://smn..myhuaweicloud.com{SMN_PEM}", f"https://{SMN}{SMN_PEM}"):
        assert_refused(hook, arrives(smn(forger, NOW, topic_urn=urn, signing_cert_url=url)))
    assert fetched_nothing(world)


# Forgeries that only the signature reveals

CHANGES = {
    "the message": {"message": json.dumps(record("prod/evil.zip"))},
    "the id": {"message_id": "another"},
    "the time": {"timestamp": stamp(NOW + timedelta(seconds=1))},
    "a subject added": {"subject": "added"},
    "the type": {"type": "SubscriptionConfirmation", "subscribe_url": confirm_smn()},
    "another's signature": {"signature": "AAAA"},
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_a_message_changed_after_signing_is_refused(hook, world, huawei, changed):
    assert_refused(hook, arrives(smn(huawei, NOW) | changed), "wrong signature")
    assert [fetch.path for fetch in world.requests] == [SMN_PEM]


def test_a_wrong_key_is_refused(hook, forger):
    assert_refused(hook, arrives(smn(forger, NOW)), "wrong signature")


@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA512()])
def test_the_sender_cannot_choose_the_digest(hook, huawei, digest):
    assert_refused(hook, arrives(smn(huawei, NOW, digest=digest)), "wrong signature")


def test_a_certificate_must_be_valid_now(hook, world, issuer_key):
    expired = Signer(issuer_key, ends=NOW - timedelta(seconds=1))
    world.serve(SMN, lambda request: expired.pem)
    assert_refused(hook, arrives(smn(expired, NOW)), "certificate")


def test_a_signature_with_a_weak_key_is_refused(hook, world):
    weak_signer = Signer(new_key(1024))
    world.serve(SMN, lambda request: weak_signer.pem)
    assert_refused(hook, arrives(smn(weak_signer, NOW)), "too weak")


def test_a_certificate_that_redirects_is_not_followed(hook, world, forger):
    world.serve(SMN, lambda request: Reply(301, b"", {"Location": f"https://{EVIL}{SMN_PEM}"}))
    with pytest.raises(TemporaryFailure):
        hook.accept(arrives(smn(forger, NOW)))
    assert not hook.stored()
    assert world.to(EVIL) == []


def test_a_replay_in_time_is_harmless_and_a_late_one_is_refused(hook, huawei):
    message = smn(huawei, NOW)
    assert hook.accept(arrives(message)).events == 1
    assert hook.accept(arrives(message, now=NOW + timedelta(minutes=59))).events == 0
    with pytest.raises(Unverified):
        hook.accept(arrives(message, now=NOW + timedelta(minutes=61)))
    assert len(hook.stored()) == 2


@pytest.mark.parametrize("headers", [{}, {"x-smn-message-type": "Notification"}])
def test_a_forgery_cannot_choose_a_weaker_envelope(make_hook, keys, forger, headers):
    hook = make_hook(**{**keys, "accept": ["smn", "bare"]}, token="hook-token")
    assert_refused(hook, arrives(smn(forger, NOW), headers))
    assert_refused(hook, arrives(record(), headers))
    bearer = {**headers, "authorization": "Bearer hook-token"}
    assert_refused(hook, arrives(smn(forger, NOW), bearer), "wrong signature")
