"""Oracle Cloud Notifications: the token as Basic, and confirmation URLs of Oracle only."""

import base64
import json

import pytest
from tokens import bearer, request

from relay.config.load import SourceSettings
from relay.errors import PermanentFailure, TemporaryFailure, Unverified
from relay.model import Verdict
from relay.outbound.fetch import Fetcher
from relay.sources.envelopes.oci import Oci
from tests.fake_internet import Reply

TOKEN = "hook-token"
HOST = "cell1.notification.us-phoenix-1.oci.oraclecloud.com"
PATH = "/20181201/subscriptions/ocid1.onssubscription.oc1.phx.aaaa/confirmation"
CONFIRM = f"https://{HOST}{PATH}?token=NAvb%2Bx%3D%3D&protocol=CUSTOM_HTTPS"
EVENT = {
    "cloudEventsVersion": "0.1",
    "eventID": "ae0e5c0f-6ef1-4b1f-a7a0-6f1b6f9a4b90",
    "eventType": "com.oraclecloud.objectstorage.createobject",
    "source": "objectstorage",
    "eventTypeVersion": "1.0",
    "eventTime": "2026-11-24T03:00:00Z",
    "contentType": "application/json",
    "extensions": {"compartmentId": "ocid1.compartment.oc1..aaaa"},
    "data": {
        "compartmentId": "ocid1.compartment.oc1..aaaa",
        "resourceName": "prod/a b.zip",
        "additionalDetails": {"eTag": "f8ffb6e9", "namespace": "tenancy", "bucketName": "exports"},
    },
}
SAID = {
    "content-type": "application/json",
    "x-oci-ns-messageid": "5b0c5a1a",
    "x-oci-ns-topicocid": "ocid1.onstopic.oc1.phx.aaaa",
    "x-oci-ns-timestamp": "2026-11-24T03:00:00.310+0000",
    "x-oci-ns-signatureversion": "1.0",
    "x-oci-ns-signature": "c2lnbmF0dXJl",
    "x-oci-ns-signingcerturl": "https://objectstorage.us-phoenix-1.oraclecloud.com/n/x/cert.pem",
}
NEWS = {**SAID, "x-oci-ns-messagetype": "Notification"}


def basic(token=TOKEN):
    return {"authorization": "Basic " + base64.b64encode(f"relay:{token}".encode()).decode()}


def handshake(url=CONFIRM, headers=None):
    headers = {
        **SAID,
        "x-oci-ns-messagetype": "SubscriptionConfirmation",
        "x-oci-ns-confirmationurl": url,
        "x-oci-ns-state": "Pending",
        **(basic() if headers is None else headers),
    }
    return request({"ConfirmationURL": url}, headers)


@pytest.fixture
def world(internet):
    internet.serve(HOST, lambda request: b"{}")
    return internet


@pytest.fixture
def fetcher(world):
    made = Fetcher(allow_private=world.allowed)
    yield made
    made.close()


@pytest.fixture
def hook(make_hook, fetcher):
    return make_hook(fetch=fetcher, accept=["oci"], token=TOKEN)


def assert_refused(hook, incoming, *words):
    with pytest.raises(Unverified) as raised:
        hook.accept(incoming)
    assert not hook.stored()
    for word in words:
        assert word in str(raised.value)


def fetched_nothing(world):
    return world.names == [] and world.requests == []


def test_an_event_is_passed_on_unchanged():
    envelope = Oci(SourceSettings(kind="s3", token=TOKEN))
    assert list(envelope.unwrap(request(EVENT, NEWS))) == [EVENT]


@pytest.mark.parametrize("headers", [NEWS, {}, SAID])
def test_events_are_recognised_by_headers_or_fields(hook, world, headers):
    hook.accept(request(EVENT, {**headers, **basic()}))
    assert [notification.envelopes for notification in hook.stored()] == [("oci",)]
    assert fetched_nothing(world)


def test_a_subscription_is_confirmed_after_the_token_was_verified(hook, world):
    answer = hook.accept(handshake()).answer
    assert answer.status == 200
    [visit] = world.requests
    assert (visit.method, visit.host) == ("GET", HOST)
    assert visit.path == CONFIRM.partition(HOST)[2]
    assert "authorization" not in visit.headers


def test_the_confirmation_url_is_not_stored(hook):
    hook.accept(handshake())
    [stored] = hook.stored()
    assert stored.verdict == Verdict.HANDSHAKE
    assert "NAvb" not in json.dumps(dict(stored.headers)) + stored.body.decode()


@pytest.mark.parametrize("headers", [{}, basic("wrong"), basic(""), bearer("wrong")])
def test_without_the_token_nothing_is_accepted_or_visited(hook, world, headers):
    assert_refused(hook, request(EVENT, {**NEWS, **headers}))
    assert_refused(hook, handshake(headers=headers))
    assert fetched_nothing(world)


def test_a_source_without_a_token_refuses_every_sender(make_hook, fetcher, world):
    assert Oci(SourceSettings(kind="s3")).missing_setting() == "token"
    assert_refused(make_hook(fetch=fetcher, accept=["oci"]), handshake(headers=basic("")))
    assert fetched_nothing(world)


@pytest.mark.parametrize(
    "url",
    [
        "",
        CONFIRM.replace("https", "http"),
        CONFIRM.replace("https", "HTTPS"),
        CONFIRM.replace("https:", ""),
        CONFIRM.replace(HOST, "evil.example"),
        CONFIRM.replace(HOST, f"{HOST}.evil.example"),
        CONFIRM.replace(HOST, "evil-oraclecloud.com"),
        CONFIRM.replace(HOST, "evil.oraclecloud.com.evil.example"),
        CONFIRM.replace(HOST, "oraclecloud.com"),
        CONFIRM.replace(HOST, ".oraclecloud.com"),
        CONFIRM.replace(HOST, f"{HOST}:8443"),
        CONFIRM.replace(HOST, f"{HOST}:443"),
        CONFIRM.replace(HOST, f"user@{HOST}"),
        CONFIRM.replace(HOST, f"evil.example@{HOST}"),
        CONFIRM.replace(HOST, f"{HOST}@evil.example"),
        CONFIRM.replace(HOST, f"evil.example#{HOST}"),
        CONFIRM.replace(HOST, f"evil.example?.{HOST}"),
        CONFIRM.replace(HOST, f"evil.example\\.{HOST}"),
        CONFIRM.replace(HOST, f"evil.example/{HOST}"),
        CONFIRM.replace(HOST, f"{HOST}."),
        CONFIRM.replace(HOST, HOST.upper()),
        CONFIRM.replace(HOST, "x.oraclecl\u043eud.com"),
        CONFIRM.replace(PATH, "/../x"),
        f" {CONFIRM}",
        f"{CONFIRM}#x",
        f"{CONFIRM}\r\nX: y",
        "file:///etc/passwd",
        "https://169.254.169.254/.oraclecloud.com",
        CONFIRM + "x" * 5000,
    ],
)
def test_no_other_url_is_visited(hook, world, url):
    assert_refused(hook, handshake(url), "outside Oracle Cloud")
    assert fetched_nothing(world)


def test_a_redirected_confirmation_is_not_followed(hook, world):
    world.serve("evil.example", lambda request: b"got you")
    elsewhere = {"Location": "https://evil.example/"}
    world.serve(HOST, lambda request: Reply(302, headers=elsewhere))
    with pytest.raises(TemporaryFailure):
        hook.accept(handshake())
    assert world.names == [HOST]
    assert not hook.stored()


@pytest.mark.parametrize("status", [404, 500, 202])
def test_a_failed_confirmation_makes_oracle_retry(hook, world, status):
    world.serve(HOST, lambda request: Reply(status))
    with pytest.raises(TemporaryFailure) as raised:
        hook.accept(handshake())
    assert raised.value.code == "envelope.not_confirmed"
    assert "NAvb" not in str(raised.value)
    assert not hook.stored()
    world.serve(HOST, lambda request: b"")
    assert hook.accept(handshake()).answer.status == 200


def test_a_private_address_is_not_visited(make_hook, world):
    """A host name of Oracle that resolves to a private address."""
    guarded = Fetcher()
    try:
        hook = make_hook(fetch=guarded, accept=["oci"], token=TOKEN)
        with pytest.raises((TemporaryFailure, PermanentFailure)):
            hook.accept(handshake())
    finally:
        guarded.close()
    assert world.requests == []


def test_a_notification_with_a_confirmation_url_is_still_a_notification(hook, world):
    headers = {**NEWS, "x-oci-ns-confirmationurl": CONFIRM, **basic()}
    hook.accept(request(EVENT, headers))
    [stored] = hook.stored()
    assert stored.verdict != Verdict.HANDSHAKE
    assert fetched_nothing(world)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null"])
def test_a_verified_but_unreadable_body_is_stored(hook, body):
    hook.accept(request(body, {**NEWS, **basic()}))
    assert [notification.verdict for notification in hook.stored()] == [Verdict.UNREADABLE]


def test_a_request_without_signs_of_oracle_is_refused(hook):
    assert_refused(hook, request({"Records": []}, basic()))
    assert_refused(hook, request({**EVENT, "eventType": "com.example.x"}, basic()))
