"""MNS: the three formats, the limits of the signature, and which forgeries fail."""

import base64
import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens import NOW, new_key, request

from relay.config.load import Settings, SourceSettings
from relay.errors import TemporaryFailure, Unreadable, Unverified
from relay.model import Incoming, Verdict
from relay.outbound.fetch import Fetcher
from relay.sources.envelopes.certificates import load_certificate
from relay.sources.envelopes.mns import Mns, signed_texts
from relay.web.app import create_app
from tests.fake_internet import Reply
from tests.forged_urls import EVIL, certificate_urls
from tests.signers import MNS, MNS_PEM, TOPIC, Push, Signer, record

FORMS = ["XML", "JSON", "SIMPLIFIED"]
OTHER = "666666666/uploads"
TOKEN = {"token": "hook-token"}
WITH_TOKEN = "/hooks/exports?token=hook-token"


@pytest.fixture(scope="module")
def alibaba(issuer_key):
    return Signer(issuer_key)


@pytest.fixture(scope="module")
def forger(stranger_key):
    return Signer(stranger_key)


@pytest.fixture(scope="module")
def weak_signer():
    return Signer(new_key(1024))


@pytest.fixture
def world(internet, alibaba, forger):
    internet.serve(MNS, lambda request: alibaba.pem)
    for host in (EVIL, f"{MNS}.{EVIL}", f"evil-{MNS}", f"evil.{MNS}"):
        internet.serve(host, lambda request: forger.pem)
    return internet


@pytest.fixture
def fetcher(world):
    made = Fetcher(allow_private=world.allowed)
    yield made
    made.close()


@pytest.fixture
def keys(fetcher):
    return {"fetch": fetcher, "accept": ["mns"], "mns_topics": [TOPIC]}


@pytest.fixture
def hook(make_hook, keys):
    return make_hook(**keys)


def assert_refused(hook, incoming, *words):
    with pytest.raises(Unverified) as raised:
        hook.accept(incoming)
    assert not hook.stored()
    for word in words:
        assert word in str(raised.value)


def fetched_nothing(world):
    return world.names == [] and world.requests == []


def changed(incoming, **headers):
    """Change headers after signing; None removes a header."""
    new = {**incoming.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return replace(
        incoming, headers={name: value for name, value in new.items() if value is not None}
    )


# Valid messages


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("with_type", [True, False])
@pytest.mark.parametrize("target", ["/hooks/exports", WITH_TOKEN, "/hooks/exports?a=%2F&b"])
def test_a_message_of_a_listed_topic_is_accepted(hook, world, alibaba, form, with_type, target):
    push = Push(NOW, form, with_type=with_type, target=target)
    assert hook.accept(push.signed(alibaba)).events == 1
    [stored] = hook.stored()
    assert (stored.verdict, stored.envelopes) == (Verdict.ACCEPTED, ("mns",))
    assert [fetch.path for fetch in world.requests] == [MNS_PEM]


@pytest.mark.parametrize("form", FORMS)
def test_an_unsigned_query_is_accepted(hook, alibaba, form):
    push = Push(NOW, form, target=WITH_TOKEN, sign_query=False)
    assert hook.accept(push.signed(alibaba)).events == 1


@pytest.mark.parametrize("form", FORMS)
def test_a_plain_json_message_is_accepted(hook, alibaba, form):
    message = json.dumps(record("导出/<a & b>.zip"), ensure_ascii=False)
    assert hook.accept(Push(NOW, form, message=message).signed(alibaba)).events == 1


@pytest.mark.parametrize("form", FORMS)
def test_oss_events_are_unwrapped_one_by_one(form):
    events = [{"eventName": "ObjectCreated:PutObject", "oss": {}}, {"eventName": "x"}]
    message = base64.b64encode(json.dumps({"events": events}).encode()).decode()
    push = Push(NOW, form, message=message)
    envelope = Mns(SourceSettings(kind="oss"))
    incoming = Incoming("exports", push.body(), NOW, headers=push.headers())
    assert list(envelope.unwrap(incoming)) == events


def digests(body):
    md5 = hashlib.md5(body)
    return {
        "pushes of 2023": md5.hexdigest().upper(),
        "lower case": md5.hexdigest(),
        "RFC 1864": base64.b64encode(md5.digest()).decode(),
        "the reference": base64.b64encode(md5.hexdigest().encode()).decode(),
    }


@pytest.mark.parametrize("name", digests(b""))
def test_all_encodings_of_the_body_digest_are_accepted(hook, alibaba, name):
    push = Push(NOW)
    incoming = push.signed(alibaba, content_md5=digests(push.body())[name])
    assert hook.accept(incoming).events == 1


@pytest.mark.parametrize("query", ["", "?token=hook-token", "?a=%2f%20+&b&token=hook%2Dtoken"])
def test_the_raw_query_of_the_request_is_verified(make_hook, keys, alibaba, forger, query):
    hook = make_hook(**keys, **TOKEN)
    intake = SimpleNamespace(settings=Settings(), clock=lambda: NOW, accept=hook.accept)
    client = create_app(hook.ledger, intake, SimpleNamespace()).test_client()
    push = Push(NOW, target=f"/hooks/exports{query}")

    def answered(target, signer):
        incoming = push.signed(signer)
        return client.post(target, data=incoming.body, headers=incoming.headers).status_code

    assert answered(push.target, alibaba) == 200
    assert answered(push.target, forger) == 401
    assert not query or answered(f"{push.target}&x=1", alibaba) == 401


@pytest.mark.parametrize("between", ["", "\n    ", "<!-- a comment -->", "<?a b?>\r\n"])
def test_xml_formatting_does_not_matter(hook, alibaba, between):
    push = Push(NOW)
    body = push.body().replace(b"><", f">{between}<".encode())
    md5 = base64.b64encode(hashlib.md5(body).hexdigest().encode()).decode()
    incoming = push.signed(alibaba, content_md5=md5)
    assert hook.accept(replace(incoming, body=body)).events == 1


def test_the_date_is_also_read_from_the_mns_header(hook, alibaba):
    date = format_datetime(NOW, usegmt=True)
    push = Push(NOW).signed(alibaba, x_mns_date=date)
    assert hook.accept(push).events == 1


def test_certificates_in_the_bucket_of_a_region_are_accepted(hook, world, alibaba):
    host = "mns-cert.oss-cn-shanghai.aliyuncs.com"
    world.serve(host, lambda request: alibaba.pem)
    push = Push(NOW, url=f"https://{host}{MNS_PEM}")
    assert hook.accept(push.signed(alibaba)).events == 1
    assert [fetch.host for fetch in world.requests] == [host]


def test_a_message_that_is_retried_for_most_of_a_day_is_accepted(hook, alibaba):
    push = Push(NOW, published=NOW - timedelta(hours=23))
    assert hook.accept(push.signed(alibaba)).events == 1


REAL = b"""-----BEGIN CERTIFICATE-----
MIICiDCCAjKgAwIBAgIJAL+acWZrTrlfMA0GCSqGSIb3DQEBBQUAMGMxCzAJBgNV
BAYTAjg2MREwDwYDVQQIEwhaaGVqaWFuZzERMA8GA1UEBxMISGFuZ3pob3UxDzAN
BgNVBAoTBkFsaXl1bjEMMAoGA1UECxMDTW5zMQ8wDQYDVQQDEwZub3RpZnkwHhcN
MTUwNzAyMDIwNjE2WhcNMTYwNzAxMDIwNjE2WjBjMQswCQYDVQQGEwI4NjERMA8G
A1UECBMIWmhlamlhbmcxETAPBgNVBAcTCEhhbmd6aG91MQ8wDQYDVQQKEwZBbGl5
dW4xDDAKBgNVBAsTA01uczEPMA0GA1UEAxMGbm90aWZ5MFwwDQYJKoZIhvcNAQEB
BQADSwAwSAJBALX0sFVowct1NAQjDyYSUf0rp1rOHLkz4kp0zNWcDyXMXa5PzsPU
UwJXaLwhvNCDLLWuiLK6Oh5elmOmL8Gy/5MCAwEAAaOByDCBxTAdBgNVHQ4EFgQU
kEah2o9HpCUCxhN/fY3kUtPkP4owgZUGA1UdIwSBjTCBioAUkEah2o9HpCUCxhN/
fY3kUtPkP4qhZ6RlMGMxCzAJBgNVBAYTAjg2MREwDwYDVQQIEwhaaGVqaWFuZzER
MA8GA1UEBxMISGFuZ3pob3UxDzANBgNVBAoTBkFsaXl1bjEMMAoGA1UECxMDTW5z
MQ8wDQYDVQQDEwZub3RpZnmCCQC/mnFma065XzAMBgNVHRMEBTADAQH/MA0GCSqG
SIb3DQEBBQUAA0EAluPg+k0Fc7WRcpP78+eLptYD8an7YOapUdNUmT2/SQC5BZ+t
cyWFit5pAEipngFL105d7AuW2AtwqG0FgV0ipw==
-----END CERTIFICATE-----
"""


def test_a_captured_signature_is_verified():
    """The headers of a push of 2023 and the certificate of MNS, from the tests of an Alibaba
    project; the body is unknown. The key has 512 bits, and the certificate expired in 2016."""
    headers = {
        "content-md5": "4CCBAD7AF2D23C2D00DDECCA59323A8C",
        "content-type": "text/plain;charset=utf-8",
        "date": "Wed, 29 Mar 2023 08:41:27 GMT",
        "x-mns-message-id": "250EB49D5F8D737A391C93C6ED165396",
        "x-mns-publish-time": "1680079287576",
        "x-mns-request-id": "6423F9B7BF94313030AF5EA0",
        "x-mns-signing-cert-url": base64.b64encode(f"https://{MNS}{MNS_PEM}".encode()).decode(),
        "x-mns-subscriber": "1321669497458181",
        "x-mns-subscription-name": "mns-en-subs-oss-fecdn-internal-pre-1-22849529855680",
        "x-mns-topic-name": "mns-en-topics-oss-fecdn-internal-pre-22849529792243",
        "x-mns-topic-owner": "1321669497458181",
        "x-mns-version": "2015-06-06",
    }
    signature = base64.b64decode(
        "LP3cxoTCbhsiLJi0KQdEiRaufaxMfWUdLH064yoVoKl8xNcY+299itGmGsirVMY8vDpuZ1VwS0Uw7R5dNduSXg=="
    )
    certificate = load_certificate(REAL)
    incoming = Incoming("exports", b"", NOW, path="/notifications", headers=headers)
    assert any(certificate.verifies(signature, text, SHA1()) for text in signed_texts(incoming))
    assert not certificate.is_strong
    assert not certificate.is_valid(NOW)


def test_without_topics_it_is_absent():
    assert Mns(SourceSettings(kind="oss")).missing_setting() == "mns_topics"
    assert Mns(SourceSettings(kind="oss", mns_topics=(TOPIC,))).missing_setting() is None


def test_it_is_recognised_by_any_mns_header():
    envelope = Mns(SourceSettings(kind="oss", mns_topics=(TOPIC,)))
    assert envelope.recognises(request(b"", {"x-mns-request-id": "1"}))
    assert not envelope.recognises(request(b"", {"x-mns-request-id": "1"}, method="HEAD"))
    assert not envelope.recognises(request(record()))


# When the token is required too


def test_a_message_without_a_topic_requires_the_token(make_hook, keys, world, alibaba):
    """An old SIMPLIFIED format: any topic can push to any URL."""
    unnamed = Push(NOW, "SIMPLIFIED", named=False, target=WITH_TOKEN)
    assert_refused(make_hook(**keys), unnamed.signed(alibaba), "no topic", "no token")
    hook = make_hook(**keys, **TOKEN)
    assert_refused(hook, replace(unnamed, target="/hooks/exports").signed(alibaba), "token")
    assert_refused(hook, replace(unnamed, target="/hooks/exports?token=x").signed(alibaba), "token")
    assert fetched_nothing(world)
    assert hook.accept(unnamed.signed(alibaba)).events == 1


@pytest.mark.parametrize("form", ["XML", "JSON"])
def test_a_published_text_that_imitates_a_message_names_no_topic(hook, world, alibaba, form):
    """The owner of any topic can publish this in the SIMPLIFIED format, and MNS signs it."""
    looks = Push(NOW, form).body().decode()
    push = Push(NOW, "SIMPLIFIED", message=looks, named=False, topic=OTHER)
    assert_refused(hook, push.signed(alibaba), "no topic")
    assert_refused(hook, replace(push, named=True).signed(alibaba), "of a topic")
    assert fetched_nothing(world)


@pytest.mark.parametrize("form", FORMS)
def test_a_weak_key_requires_the_token(make_hook, keys, world, weak_signer, form):
    world.serve(MNS, lambda request: weak_signer.pem)
    push = Push(NOW, form, target=WITH_TOKEN)
    assert_refused(
        make_hook(**keys), push.signed(weak_signer), "a key that is too short", "no token"
    )
    hook = make_hook(**keys, **TOKEN)
    assert_refused(hook, replace(push, target="/hooks/exports").signed(weak_signer), "token")
    assert hook.accept(push.signed(weak_signer)).events == 1


@pytest.mark.parametrize(
    "period",
    [{"ends": NOW - timedelta(seconds=1)}, {"begins": NOW + timedelta(seconds=1)}],
)
def test_an_expired_certificate_requires_the_token(make_hook, keys, world, issuer_key, period):
    """MNS signed with a certificate that had expired seven years before."""
    expired = Signer(issuer_key, **period)
    world.serve(MNS, lambda request: expired.pem)
    push = Push(NOW, target=WITH_TOKEN).signed(expired)
    assert_refused(make_hook(**keys), push, "not valid", "no token")
    hook = make_hook(**keys, **TOKEN)
    assert_refused(hook, Push(NOW).signed(expired), "token")
    assert hook.accept(push).events == 1


def test_a_token_does_not_replace_a_valid_signature(make_hook, keys, world, weak_signer, forger):
    hook = make_hook(**keys, **TOKEN)
    push = Push(NOW, target=WITH_TOKEN)
    assert_refused(hook, push.signed(forger), "wrong signature")
    assert_refused(hook, push.signed(weak_signer), "wrong signature")


# Forgeries that are refused without a fetch


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("topic", [OTHER, f"{TOPIC}-evil", "/uploads", "123456789/", "1/2/uploads"])
def test_another_topic_is_refused(hook, world, alibaba, form, topic):
    assert_refused(hook, Push(NOW, form, topic=topic).signed(alibaba), "of a topic")
    assert fetched_nothing(world)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("off", [timedelta(hours=1, seconds=1), -timedelta(hours=1, seconds=1)])
def test_a_stale_push_and_one_from_the_future_are_refused(hook, world, alibaba, form, off):
    incoming = replace(Push(NOW, form).signed(alibaba), received=NOW + off)
    assert_refused(hook, incoming, "too long ago, or in the future")
    assert fetched_nothing(world)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("off", [timedelta(hours=-26), timedelta(hours=26)])
def test_a_message_older_than_the_retry_period_is_refused(hook, world, alibaba, form, off):
    assert_refused(hook, Push(NOW, form, published=NOW + off).signed(alibaba))
    assert fetched_nothing(world)


ADDRESSES = {
    **certificate_urls(MNS, MNS_PEM),
    "another bucket": f"https://evil.oss-cn-hangzhou.aliyuncs.com{MNS_PEM}",
    "a bucket that ends alike": f"https://evil-mns-cert.oss-cn-beijing.aliyuncs.com{MNS_PEM}",
    "a bucket in the path": f"https://oss-cn-hangzhou.aliyuncs.com/mnstest{MNS_PEM}",
    "a region that is a host": f"https://mns-cert.oss-cn-{EVIL}/.aliyuncs.com{MNS_PEM}",
}


@pytest.mark.parametrize("url", ADDRESSES.values(), ids=ADDRESSES)
def test_a_certificate_outside_mns_is_never_fetched(hook, world, forger, url):
    raw = base64.b64encode(url.encode("utf-8", "surrogatepass")).decode()
    push = Push(NOW).signed(forger, x_mns_signing_cert_url=raw)
    assert_refused(hook, push, "certificate")
    assert fetched_nothing(world)


BEFORE = {
    "no signature": {"authorization": None},
    "an empty signature": {"authorization": ""},
    "a signature that is not base64": {"authorization": "not base64!"},
    "a signature with a scheme": {"authorization": "Bearer AAAA"},
    "a signature in another script": {"authorization": "ç\xad¾"},
    "no address": {"x_mns_signing_cert_url": None},
    "an empty address": {"x_mns_signing_cert_url": ""},
    "an address that is not base64": {"x_mns_signing_cert_url": f"https://{MNS}{MNS_PEM}"},
    "an address that is not UTF-8": {"x_mns_signing_cert_url": "//79"},
    "no digest": {"content_md5": None},
    "an empty digest": {"content_md5": ""},
    "another digest": {"content_md5": "0" * 32},
    "a digest in another script": {"content_md5": "ç" * 32},
    "no date": {"date": None},
    "no date at all": {"date": "yesterday"},
    "an endless date": {"date": f"Wed, 25 May {'9' * 400} 10:46:14 GMT"},
    "a year too large": {"date": "Wed, 25 May 99999999999 10:46:14 GMT"},
    "a time that is no number": {"x_mns_publish_time": "yesterday"},
    "a time without end": {"x_mns_publish_time": "9" * 500},
    "a time below zero": {"x_mns_publish_time": "-1"},
}


@pytest.mark.parametrize("headers", BEFORE.values(), ids=BEFORE)
def test_a_problem_that_needs_no_certificate_causes_no_fetch(hook, world, alibaba, headers):
    assert_refused(hook, changed(Push(NOW).signed(alibaba), **headers))
    assert fetched_nothing(world)


@pytest.mark.parametrize("form", FORMS)
def test_a_body_that_was_changed_after_signing_is_refused(hook, world, alibaba, form):
    """The signature covers the body only through Content-MD5."""
    incoming = Push(NOW, form).signed(alibaba)
    other = Push(NOW, form, message=json.dumps(record("prod/evil.zip"))).body()
    assert_refused(hook, replace(incoming, body=other), "Content-MD5")
    assert fetched_nothing(world)
    md5 = base64.b64encode(hashlib.md5(other).hexdigest().encode()).decode()
    assert_refused(hook, changed(replace(incoming, body=other), content_md5=md5), "wrong signature")


# Forgeries that only the signature reveals

CHANGES = {
    "the date": {"date": format_datetime(NOW + timedelta(seconds=1), usegmt=True)},
    "the request's id": {"x_mns_request_id": "another"},
    "the version": {"x_mns_version": None},
    "a header added": {"x_mns_message_tag": "added"},
    "the topic named in headers": {"x_mns_topic_owner": "123456789", "x_mns_topic_name": "uploads"},
    "the content type": {"content_type": "text/evil"},
    "another's signature": {"authorization": "AAAA"},
}


@pytest.mark.parametrize("headers", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("form", ["XML", "JSON"])
def test_a_message_changed_after_signing_is_refused(hook, world, alibaba, form, headers):
    assert_refused(hook, changed(Push(NOW, form).signed(alibaba), **headers), "wrong signature")
    assert [fetch.path for fetch in world.requests] == [MNS_PEM]


def test_a_forged_topic_header_is_refused(hook, alibaba):
    incoming = Push(NOW, "SIMPLIFIED", topic=OTHER).signed(alibaba)
    assert_refused(hook, changed(incoming, x_mns_topic_owner="123456789"), "wrong signature")


def test_another_path_is_refused(hook, alibaba):
    """A push to another source, or to another Relay, is not valid here."""
    incoming = Push(NOW, target="/hooks/other").signed(alibaba)
    assert_refused(hook, replace(incoming, path="/hooks/exports"), "wrong signature")


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_key_is_refused(hook, forger, form):
    assert_refused(hook, Push(NOW, form).signed(forger), "wrong signature")


def test_a_certificate_that_redirects_is_not_followed(hook, world, forger):
    world.serve(MNS, lambda request: Reply(302, b"", {"Location": f"https://{EVIL}{MNS_PEM}"}))
    with pytest.raises(TemporaryFailure):
        hook.accept(Push(NOW).signed(forger))
    assert not hook.stored()
    assert world.to(EVIL) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_replay_in_time_is_harmless_and_a_late_one_is_refused(hook, alibaba, form):
    incoming = Push(NOW, form).signed(alibaba)
    assert hook.accept(incoming).events == 1
    assert hook.accept(replace(incoming, received=NOW + timedelta(minutes=59))).events == 0
    with pytest.raises(Unverified):
        hook.accept(replace(incoming, received=NOW + timedelta(minutes=61)))
    assert len(hook.stored()) == 2


def test_a_forgery_cannot_choose_a_weaker_envelope(make_hook, keys, forger):
    hook = make_hook(**{**keys, "accept": ["mns", "bare"]}, **TOKEN)
    assert_refused(hook, Push(NOW).signed(forger))
    assert_refused(hook, replace(Push(NOW).signed(forger), headers={}))
    assert_refused(hook, changed(Push(NOW).signed(forger), authorization="Bearer hook-token"))


# Hostile XML

BOMB = (
    b'<?xml version="1.0"?>'
    b'<!DOCTYPE Notification [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    b"<Notification><TopicOwner>123456789</TopicOwner><TopicName>uploads</TopicName>"
    b"<Message>&b;</Message></Notification>"
)
PLAIN = BOMB.partition(b"]>")[2].replace(b"&b;", b"{}")
HOSTILE = {
    "a bomb": BOMB,
    "nested": PLAIN.replace(b"uploads", b"<b>uploads</b>"),
    "another root that says the same": PLAIN.replace(b"Notification", b"Other"),
    "a declared encoding": b'<?xml version="1.0" encoding="latin-1"?>'
    + PLAIN.replace(b"{}", b"\xe9"),
    "a file": BOMB.replace(b'b "&a;&a;&a;"', b'b SYSTEM "file:///etc/passwd"'),
    "an address": BOMB.replace(
        b"DOCTYPE Notification", b'DOCTYPE Notification SYSTEM "https://evil.example/a.dtd"'
    ),
    "an empty document type": b"<!DOCTYPE Notification><Notification/>",
    "very deep": b"<Notification>" + b"<a>" * 100_000,
    "not closed": b"<Notification><TopicOwner>123456789</TopicOwner>",
    "another encoding": '<?xml version="1.0" encoding="utf-16"?><Notification/>'.encode("utf-16"),
    "no UTF-8": b"<Notification><TopicOwner>\xff</TopicOwner></Notification>",
    "NUL": b"<Notification>\0</Notification>",
}


def test_the_hostile_xml_samples_harm_a_naive_parser(hook):
    md5 = base64.b64encode(hashlib.md5(PLAIN).hexdigest().encode()).decode()
    incoming = replace(request(PLAIN, Push(NOW).headers()), path="/hooks/exports")
    assert_refused(
        hook, changed(incoming, content_md5=md5, authorization="AAAA"), "wrong signature"
    )


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_hostile_xml_is_read_as_empty(hook, world, alibaba, body):
    md5 = base64.b64encode(hashlib.md5(body).hexdigest().encode()).decode()
    incoming = changed(replace(Push(NOW).signed(alibaba), body=body), content_md5=md5)
    assert_refused(hook, incoming, "no topic")
    assert fetched_nothing(world)
    with pytest.raises(Unreadable):
        list(Mns(SourceSettings(kind="oss")).unwrap(incoming))


HEADERS = [
    "date",
    "content-md5",
    "content-type",
    "authorization",
    "x-mns-signing-cert-url",
    "x-mns-topic-name",
    "x-mns-date",
    "x-mns-publish-time",
]


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=100)
    | st.text().map(lambda text: f"<Notification><Message>{text}</Message></Notification>".encode())
    | st.dictionaries(
        st.sampled_from(["TopicName", "TopicOwner", "Message", "PublishTime", "events"]),
        st.none() | st.integers() | st.text() | st.lists(st.integers()),
    ).map(lambda found: json.dumps(found).encode()),
    headers=st.dictionaries(
        st.sampled_from(HEADERS),
        st.text(st.characters(max_codepoint=255)),
    ),
)
def test_no_request_raises_an_unexpected_exception(body, headers):
    envelope = Mns(SourceSettings(kind="oss", mns_topics=(TOPIC,)))
    incoming = Incoming("exports", body, NOW, path="/hooks/exports", headers=headers)
    envelope.recognises(incoming)
    with pytest.raises(Unverified):
        envelope.verify(incoming)
    with suppress(Unreadable):
        list(envelope.unwrap(incoming))
