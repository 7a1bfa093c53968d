"""Push deliveries of Pub/Sub: wrapped, unwrapped, and only from Google."""

import base64
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokens import GOOGLE_KEYS, NOW, OIDC, bearer, google, request

from relay.config.load import SourceSettings
from relay.errors import RelayError, Unreadable, Unverified
from relay.model import Verdict
from relay.sources.envelopes.pubsub import PubSub

RESOURCE = {
    "kind": "storage#object",
    "id": "exports/a b.zip/1607428286395814",
    "name": "a b.zip",
    "bucket": "exports",
    "generation": "1607428286395814",
    "size": "352",
    "etag": "CNHZkbuF/ugCEAE=",
}
ATTRIBUTES = {
    "bucketId": "exports",
    "eventTime": "2020-12-08T11:51:26.395668Z",
    "eventType": "OBJECT_FINALIZE",
    "notificationConfig": "projects/_/buckets/exports/notificationConfigs/1",
    "objectGeneration": "1607428286395814",
    "objectId": "a b.zip",
    "payloadFormat": "JSON_API_V1",
}
S3 = {
    "Records": [
        {
            "eventName": "ObjectCreated:Put",
            "eventSource": "storj:s3",
            "eventTime": "2026-11-24T03:00:00Z",
            "s3": {"bucket": {"name": "exports"}, "object": {"key": "a.zip", "size": 3}},
        }
    ]
}
HEADERS = {
    "x-goog-pubsub-subscription-name": "projects/p/subscriptions/s",
    "x-goog-pubsub-message-id": "2070443601311540",
    "x-goog-pubsub-publish-time": "2021-02-26T19:13:55.749Z",
    **{name.lower(): value for name, value in ATTRIBUTES.items()},
}
TOKEN = {"token": "hook-token"}


def wrapped(found=RESOURCE, **message):
    body = base64.b64encode(json.dumps(found).encode()).decode()
    inner = {"data": body, "attributes": ATTRIBUTES, "messageId": "1", "publishTime": "t"}
    return {"message": {**inner, **message}, "subscription": "projects/p/subscriptions/s"}


def envelope(issuer=None, **keys):
    source = SourceSettings(kind="gcs", **keys)
    return PubSub(source, issuer.fetch) if issuer else PubSub(source)


def unwrapped(incoming):
    return list(envelope(**TOKEN).unwrap(incoming))


def test_a_wrapped_message_is_one_record_with_its_data_decoded():
    [record] = unwrapped(request(wrapped()))
    message = record["pubsub"]
    assert message["attributes"] == ATTRIBUTES
    assert message["data"] == RESOURCE
    assert message["messageId"] == "1"


@pytest.mark.parametrize("data", ["", None])
def test_a_message_with_only_attributes_is_accepted(data):
    [record] = unwrapped(request(wrapped(data=data)))
    assert record["pubsub"]["data"] is None
    assert record["pubsub"]["attributes"]["objectId"] == "a b.zip"


def test_an_unwrapped_message_is_rebuilt_in_the_same_form():
    [record] = unwrapped(request(RESOURCE, HEADERS))
    assert record == {
        "pubsub": {
            "attributes": ATTRIBUTES,
            "messageId": "2070443601311540",
            "publishTime": "2021-02-26T19:13:55.749Z",
            "data": RESOURCE,
        }
    }


@pytest.mark.parametrize(
    "named",
    ["x-goog-pubsub-attribute-{}", "x-goog-pubsub-attributes-{}", "x-goog-pubsub-attr-{}"],
)
def test_prefixes_of_header_names_are_ignored(named):
    headers = {named.format(name.lower()): value for name, value in ATTRIBUTES.items()}
    [record] = unwrapped(request(RESOURCE, headers))
    assert record["pubsub"]["attributes"] == ATTRIBUTES


def test_an_unwrapped_message_without_data_is_read_from_headers():
    headers = {**HEADERS, "objectid": "导出.zip".encode().decode("latin-1")}
    [record] = unwrapped(request(b"", headers))
    assert record["pubsub"]["data"] is None
    assert record["pubsub"]["attributes"]["objectId"] == "导出.zip"


def test_the_resource_has_precedence_over_lossy_headers():
    headers = {**HEADERS, "objectid": "a?b.zip"}
    [record] = unwrapped(request({**RESOURCE, "name": "aäb.zip", "generation": 7}, headers))
    assert record["pubsub"]["attributes"]["objectId"] == "aäb.zip"
    assert record["pubsub"]["attributes"]["objectGeneration"] == "7"


def test_a_header_that_is_not_utf8_is_unreadable():
    with pytest.raises(Unreadable, match="objectid"):
        unwrapped(request(b"", {**HEADERS, "objectid": "\xff\xfe"}))


@pytest.mark.parametrize(
    "incoming",
    [
        request(RESOURCE),
        request(b"", {"user-agent": "CloudPubSub-Google"}),
        request(RESOURCE, {"x-goog-pubsub-message-id": "1"}),
    ],
)
def test_the_error_without_metadata_names_the_option(incoming):
    pubsub = envelope(**TOKEN)
    assert pubsub.recognises(incoming)
    with pytest.raises(Unreadable, match="write metadata"):
        list(pubsub.unwrap(incoming))


@pytest.mark.parametrize("incoming", [request(wrapped(S3)), request(S3, HEADERS)])
def test_published_s3_records_are_unwrapped(incoming):
    assert unwrapped(incoming) == S3["Records"]


@pytest.mark.parametrize(
    "incoming",
    [
        request(wrapped()),
        request(RESOURCE),
        request(b"\xff", HEADERS),
        request(b"", {"user-agent": "APIs-Google; (+https://developers.google.com/x.html)"}),
    ],
)
def test_own_deliveries_are_recognised(incoming):
    assert envelope().recognises(incoming)


@pytest.mark.parametrize(
    "incoming",
    [
        request(S3),
        request(b'{"subscription": 1'),
        request({"subscription": "s"}),
        request({"message": "text", "subscription": "s"}),
        request([wrapped()]),
        request(b"\xff"),
        request(b"", HEADERS, method="OPTIONS"),
        request(RESOURCE, {**HEADERS, "ce-type": "google.cloud.storage.object.v1.finalized"}),
    ],
)
def test_other_deliveries_are_not_recognised(incoming):
    assert not envelope().recognises(incoming)


def test_without_credentials_it_is_absent_and_names_the_missing_settings():
    assert envelope().missing_setting() == "oidc_audience and oidc_email, or token"
    assert envelope(oidc_audience="x", **TOKEN).missing_setting() == "oidc_email"


# Through the intake


@pytest.fixture
def hook(make_hook):
    return make_hook(accept=["pubsub"], **OIDC, **TOKEN)


def test_a_delivery_of_google_is_accepted_and_read(hook, issuer):
    receipt = hook.accept(request(wrapped(S3), bearer(issuer.token(google()))))
    assert receipt.events == 1
    [stored] = hook.stored()
    assert stored.verdict == Verdict.ACCEPTED
    assert stored.envelopes == ("pubsub",)
    assert stored.headers["authorization"] == "[redacted]"
    assert issuer.fetched == [GOOGLE_KEYS]


def test_an_unreadable_delivery_of_google_is_stored(hook, issuer):
    hook.accept(request(RESOURCE, bearer(issuer.token(google()))))
    [stored] = hook.stored()
    assert stored.verdict == Verdict.UNREADABLE
    assert "write metadata" in stored.reason


def test_a_replay_reads_the_headers_again(hook, issuer):
    headers = {**HEADERS, **bearer(issuer.token(google()))}
    receipt = hook.accept(request(RESOURCE, headers))
    hook.intake.replay(receipt.notification)
    # The handler reads only S3 records; the reason shows that it received the message twice.
    assert [notification.reason for notification in hook.stored()] == [
        "The field eventName is missing"
    ] * 2


FORGED = {
    "nothing shown": lambda issuer, key: {},
    "signed by another": lambda issuer, key: bearer(issuer.token(google(), key=key)),
    "not signed": lambda issuer, key: bearer(issuer.unsigned(google())),
    "public key as secret": lambda issuer, key: bearer(issuer.confused(google())),
    "another sender": lambda issuer, key: bearer(issuer.token(google(email="x@y.z"))),
    "unverified": lambda issuer, key: bearer(issuer.token(google(email_verified=False))),
    "another audience": lambda issuer, key: bearer(issuer.token(google(aud="https://x"))),
    "another issuer": lambda issuer, key: bearer(issuer.token(google(iss="https://x"))),
    "expired": lambda issuer, key: bearer(issuer.token(google(exp=NOW.timestamp() - 61))),
    "from the future": lambda issuer, key: bearer(issuer.token(google(iat=NOW.timestamp() + 61))),
    "an unknown key": lambda issuer, key: bearer(issuer.token(google(), kid="k9", key=key)),
    "the token alone": lambda issuer, key: bearer("hook-token"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forgery_is_not_stored(hook, issuer, stranger_key, forge):
    headers = {**forge(issuer, stranger_key), **HEADERS}
    for body in (wrapped(S3), S3, {"specversion": "1.0"}):
        with pytest.raises(Unverified):
            hook.accept(request(body, headers))
    assert hook.stored() == ()


@pytest.mark.parametrize(
    ("headers", "query"),
    [({"content-type": "application/cloudevents+json"}, {}), ({}, {"token": "hook-token"})],
)
def test_a_sender_cannot_choose_a_weaker_envelope(make_hook, headers, query):
    hook = make_hook(accept=["pubsub", "cloudevents"], **OIDC, **TOKEN)
    for body in (wrapped(S3), {"specversion": "1.0", "id": "1", "type": "t", "source": "s"}):
        with pytest.raises(Unverified):
            hook.accept(request(body, {**headers, **HEADERS}, query=query))
        with pytest.raises(Unverified):
            hook.accept(request(body, {**headers, **bearer("hook-token")}, query=query))
    assert hook.stored() == ()


def test_without_oidc_the_token_in_the_url_is_enough(make_hook):
    hook = make_hook(accept=["pubsub"], **TOKEN)
    assert hook.accept(request(wrapped(S3), query=TOKEN)).events == 1
    with pytest.raises(Unverified):
        hook.accept(request(wrapped(S3), query={"token": "wrong"}))
    assert len(hook.stored()) == 1


NAMES = st.sampled_from([*HEADERS, "user-agent", "content-type", "authorization", "ce-id"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["message", "subscription", "data", "attributes", "kind", "name", "Records"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    body=st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(NAMES, st.text(max_size=9), max_size=5),
)
def test_no_request_raises_an_unexpected_exception(body, headers):
    incoming = request(body, headers)
    pubsub = envelope(**OIDC)
    pubsub.recognises(incoming)
    pubsub.answer(incoming)
    with pytest.raises(Unverified):
        pubsub.verify(incoming)
    try:
        for record in pubsub.unwrap(incoming):
            assert isinstance(record, dict)
    except RelayError:
        pass
