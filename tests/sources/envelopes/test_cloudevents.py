"""CloudEvents in three forms, and the accepted senders."""

import base64
import json
from itertools import product
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens import ENTRA, OIDC, bearer, entra, google, request

from relay.config.load import SourceSettings
from relay.errors import RelayError, Unreadable, Unverified
from relay.model import Verdict
from relay.sources.envelopes.cloudevents import CloudEvents

TOKEN = {"token": "hook-token"}
DATA = {"name": "a b.zip", "bucket": "exports", "generation": "1587627537231057"}
EVENT = {
    "specversion": "1.0",
    "id": "1234567890",
    "type": "google.cloud.storage.object.v1.finalized",
    "source": "//storage.googleapis.com/projects/_/buckets/exports",
    "subject": "objects/a b.zip",
    "time": "2026-11-24T03:00:00Z",
    "data": DATA,
}
S3 = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "ceph:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-11-24T03:00:00Z",
            "s3": {
                "bucket": {"name": "exports"},
                "object": {"key": "100%25 é.zip", "size": 3, "eTag": "e", "versionId": "v1"},
            },
        }
    ]
}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=UTF-8"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
PLAIN = {"content-type": "application/json"}


def binary(media="application/json", **attributes):
    ce_attributes = {name: value for name, value in EVENT.items() if name != "data"}
    ce_attributes.update(attributes)
    headers = {f"ce-{name}": value for name, value in ce_attributes.items() if value is not None}
    return {**headers, "content-type": media} if media else headers


def envelope(issuer=None, **keys):
    source = SourceSettings(kind="gcs", **keys)
    return CloudEvents(source, issuer.fetch) if issuer else CloudEvents(source)


def unwrapped(body, headers=None):
    incoming = request(body, headers)
    cloudevents = envelope(**TOKEN)
    assert cloudevents.recognises(incoming)
    return list(cloudevents.unwrap(incoming))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (EVENT, STRUCTURED),
        ([EVENT], STRUCTURED),
        ([EVENT], BATCH),
        (EVENT, BATCH),
        (EVENT, PLAIN),
        ([EVENT], PLAIN),
        ({"events": [EVENT]}, PLAIN),
        (EVENT, {}),
        (EVENT, {"content-type": "Application/CloudEvents"}),
        (EVENT, {**STRUCTURED, "ce-id": "another"}),
    ],
)
def test_every_form_yields_the_same_event(body, headers):
    assert unwrapped(body, headers) == [EVENT]


def test_headers_and_body_are_read_as_one_event():
    [event] = unwrapped(DATA, binary(bucket="exports"))
    assert event == {**EVENT, "bucket": "exports", "datacontenttype": "application/json"}


def test_a_batch_yields_all_events_and_can_be_empty():
    two = [{**EVENT, "id": "1"}, {**EVENT, "id": "2"}]
    assert unwrapped(two, BATCH) == two
    assert unwrapped([], BATCH) == []


@pytest.mark.parametrize(
    ("sent", "subject"),
    [
        ("objects/a%20b.zip", "objects/a b.zip"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%61.zip", "a.zip"),
        ("a%252Bb.zip", "a%2Bb.zip"),
        ("a+b.zip", "a+b.zip"),
        ("100%.zip", "100%.zip"),
        ('"quoted \\"name\\".zip"', 'quoted "name".zip'),
        ("é.zip".encode().decode("latin-1"), "é.zip"),
    ],
)
def test_attributes_in_headers_are_decoded_once(sent, subject):
    [event] = unwrapped(DATA, binary(subject=sent))
    assert event["subject"] == subject


@pytest.mark.parametrize(
    "sent", ["%FF.zip", "%C0%A0.zip", "\xff.zip", "é%2B.zip".encode().decode("latin-1"), "导"]
)
def test_an_attribute_that_is_not_utf8_is_unreadable(sent):
    with pytest.raises(Unreadable, match="ce-subject"):
        unwrapped(DATA, binary(subject=sent))


@settings(max_examples=200, deadline=None)
@given(subject=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_percent_encoded_attributes_are_decoded(subject):
    [event] = unwrapped(DATA, binary(subject=quote(subject, safe="/")))
    assert event["subject"] == subject


@pytest.mark.parametrize("subject", ["100%25 é.zip".encode().decode("latin-1"), "%FF", "\xff"])
def test_raw_headers_of_ceph_are_ignored_in_favour_of_records(subject):
    headers = binary(type="com.amazonaws.ObjectCreated:Put", subject=subject, source=None)
    assert unwrapped(S3, headers) == S3["Records"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [({**EVENT, "data": S3}, STRUCTURED), ([{**EVENT, "data": json.dumps(S3)}], BATCH)],
)
def test_s3_records_in_an_event_are_unwrapped(body, headers):
    assert unwrapped(body, headers) == S3["Records"]


def test_a_pubsub_message_in_an_event_is_unwrapped():
    inner = base64.b64encode(json.dumps(DATA).encode()).decode()
    data = {"message": {"data": inner, "attributes": {"eventType": "x"}}, "subscription": "s"}
    [record] = unwrapped({**EVENT, "data": data}, STRUCTURED)
    assert record["pubsub"]["data"] == DATA


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ({"data_base64": base64.b64encode(json.dumps(DATA).encode()).decode()}, DATA),
        (
            {
                "data_base64": base64.b64encode(json.dumps(DATA).encode()).decode(),
                "datacontenttype": "application/octet-stream",
            },
            DATA,
        ),
        ({"data_base64": "aGk=", "datacontenttype": "text/plain"}, "hi"),
        ({"data": json.dumps(DATA)}, DATA),
        ({"data": "{no JSON"}, "{no JSON"),
        ({"data": "5"}, "5"),
        ({"data": None}, None),
        ({}, None),
    ],
)
def test_data_is_decoded_when_it_is_json(event, data):
    bare = {name: value for name, value in EVENT.items() if name != "data"}
    [found] = unwrapped({**bare, **event}, STRUCTURED)
    assert found["data"] == data
    assert "data_base64" not in found


@pytest.mark.parametrize(
    ("body", "media", "data"),
    [
        (json.dumps(DATA).encode(), "application/vnd.ibm+json", DATA),
        (json.dumps(DATA).encode(), None, DATA),
        (json.dumps(DATA).encode(), "text/plain", DATA),
        (b"PK\x03\x04\xff", "application/zip", "PK\x03\x04\ufffd"),
        (b"{nothing", "text/plain", "{nothing"),
        (b"", "application/json", None),
    ],
)
def test_a_body_is_read_as_json_by_content_type_or_first_character(body, media, data):
    [event] = unwrapped(body, binary(media))
    assert event["data"] == data


def test_a_time_in_milliseconds_is_accepted():
    [event] = unwrapped({**EVENT, "time": "1615430559146"}, STRUCTURED)
    assert event["time"] == "1615430559146"


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"<event/>", {"content-type": "application/cloudevents+xml"}, "not in JSON"),
        (b"\x00", {"content-type": "application/cloudevents-batch+avro"}, "not in JSON"),
        (b"{", STRUCTURED, "not JSON"),
        (b"\xff", STRUCTURED, "not UTF-8"),
        (b"1", STRUCTURED, "should be an object"),
        ([1], BATCH, "should be an object"),
        (b"{broken", binary(), "not JSON"),
        ({**EVENT, "data": None, "data_base64": "!"}, STRUCTURED, "base64"),
        ({**EVENT, "data": None, "data_base64": 1}, STRUCTURED, "base64"),
        ({**EVENT, "id": 7}, STRUCTURED, "id should be a text"),
        ({**EVENT, "data": {"Records": []}}, STRUCTURED, "no record"),
        *(({**EVENT, name: ""}, STRUCTURED, name) for name in ("type", "source", "id")),
        *((DATA, binary(**{name: None}), name) for name in ("type", "source", "id")),
        (DATA, binary(specversion=None), "specversion"),
        ({"id": "1"}, STRUCTURED, "specversion"),
    ],
)
def test_an_invalid_event_is_unreadable_with_a_reason(body, headers, words):
    with pytest.raises(Unreadable, match=words):
        unwrapped(body, headers)


def test_an_invalid_event_in_a_batch_does_not_lose_the_others():
    records = envelope(**TOKEN).unwrap(request([{**EVENT, "type": 1}, EVENT, 5], BATCH))
    assert next(records) == EVENT
    with pytest.raises(Unreadable, match="type should be a text"):
        next(records)


def test_events_of_other_kinds_in_a_list_of_events_are_passed_on():
    other = {"eventName": "OBJECT_CREATED_PUT", "bucket": "exports"}
    assert unwrapped({"events": [other, EVENT]}, PLAIN) == [other, EVENT]


@pytest.mark.parametrize(
    "incoming",
    [
        request({"Records": [{"specversion": "1.0"}]}),
        request({"eventName": "specversion"}),
        request(b'{"specversion": "1.0"'),
        request(["specversion"]),
        request(b""),
        request(b"", method="OPTIONS"),
        request(b"", {"content-type": "application/json"}),
    ],
)
def test_other_requests_are_not_recognised(incoming):
    assert not envelope().recognises(incoming)


# Requests for permission to send

ASKING = {"webhook-request-origin": "eventemitter.example.com", "webhook-request-rate": "120"}


def test_a_request_for_permission_is_granted(make_hook, issuer):
    hook = make_hook(accept=["cloudevents"], **TOKEN)
    headers = {**ASKING, "webhook-request-callback": "https://evil.example/callback?token=x"}
    for query in ({}, {"token": "hook-token"}, {"access_token": "hook-token"}):
        answer = hook.accept(request(b"", headers, method="OPTIONS", query=query)).answer
        assert answer.status == 200
        assert answer.headers == {
            "WebHook-Allowed-Origin": "eventemitter.example.com",
            "WebHook-Allowed-Rate": "*",
            "Allow": "POST",
        }
    assert issuer.fetched == [], "the callback must not be visited"
    assert hook.stored() == ()


def test_a_wrong_token_is_refused_during_setup(make_hook):
    hook = make_hook(accept=["cloudevents"], **TOKEN)
    with pytest.raises(Unverified):
        hook.accept(request(b"", ASKING, method="OPTIONS", query={"token": "wrong"}))


@pytest.mark.parametrize("origin", ["", "a b", "x\r\nSet-Cookie: y", "é", "<x>", "a" * 300])
def test_an_invalid_origin_is_not_echoed(origin):
    headers = {"webhook-request-origin": origin}
    assert envelope(**TOKEN).answer(request(b"", headers, method="OPTIONS")) is None


def test_a_post_is_never_a_request_for_permission():
    assert envelope(**TOKEN).answer(request(EVENT, {**STRUCTURED, **ASKING})) is None


# Accepted senders


@pytest.mark.parametrize(
    ("headers", "query"),
    [(bearer("hook-token"), {}), ({}, {"access_token": "hook-token"}), ({}, TOKEN)],
)
def test_the_token_is_accepted_as_specified(make_hook, headers, query):
    hook = make_hook(accept=["cloudevents"], **TOKEN)
    body = {**EVENT, "data": S3}
    assert hook.accept(request(body, {**headers, **STRUCTURED}, query=query)).events == 1
    assert hook.stored()[0].verdict == Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("keys", "claims"), [(OIDC, google()), (ENTRA, entra()), ({**OIDC, **ENTRA}, entra())]
)
def test_jwts_of_google_and_entra_are_accepted(make_hook, issuer, keys, claims):
    hook = make_hook(accept=["cloudevents"], **keys)
    headers = {**binary(subject="100%25 é.zip"), **bearer(issuer.token(claims))}
    assert hook.accept(request(S3, headers)).events == 1


@pytest.mark.parametrize("keys", [TOKEN, {**OIDC, **TOKEN}, {**ENTRA, **TOKEN}])
def test_a_forgery_is_not_stored(make_hook, issuer, stranger_key, keys):
    hook = make_hook(accept=["cloudevents"], **keys)
    shown = [
        {},
        bearer("wrong"),
        bearer(issuer.token(google(), key=stranger_key)),
        bearer(issuer.token(entra(), key=stranger_key)),
        bearer(issuer.unsigned(google())),
        bearer(issuer.confused(entra())),
        bearer(issuer.token(google(iss="https://evil.example"))),
    ]
    sent = [(EVENT, STRUCTURED), ([EVENT], BATCH), (DATA, binary()), (EVENT, PLAIN)]
    for (body, headers), credential in product(sent, shown):
        with pytest.raises(Unverified):
            hook.accept(request(body, {**headers, **credential}))
    assert hook.stored() == ()


@pytest.mark.parametrize("keys", [OIDC, ENTRA])
@pytest.mark.parametrize("query", [{"token": "hook-token"}, {"access_token": "hook-token"}])
def test_the_token_is_not_enough_if_a_provider_is_configured(make_hook, issuer, keys, query):
    hook = make_hook(accept=["cloudevents"], **keys, **TOKEN)
    with pytest.raises(Unverified):
        hook.accept(request(EVENT, {**STRUCTURED, **bearer("hook-token")}, query=query))
    assert hook.stored() == ()
    assert issuer.fetched == []


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<x/>", {"content-type": "application/cloudevents+xml"}),
        (DATA, binary(type=None)),
        (b"\xff", binary()),
    ],
)
def test_an_unreadable_event_is_stored(make_hook, body, headers):
    hook = make_hook(accept=["cloudevents"], **TOKEN)
    hook.accept(request(body, {**headers, **bearer("hook-token")}))
    [stored] = hook.stored()
    assert stored.verdict == Verdict.UNREADABLE
    assert stored.reason


def test_a_replay_reads_the_headers_again(make_hook):
    hook = make_hook(accept=["cloudevents"], **TOKEN)
    receipt = hook.accept(request(DATA, {**binary(), **bearer("hook-token")}))
    hook.intake.replay(receipt.notification)
    # The handler reads only S3 records; the reason shows that it received the event twice.
    assert [notification.reason for notification in hook.stored()] == [
        "The field eventName is missing"
    ] * 2


NAMES = st.sampled_from(
    ["content-type", "ce-specversion", "ce-type", "ce-source", "ce-id", "ce-data", "ce-", "x"]
)
VALUES = st.text(max_size=9) | st.sampled_from(
    [*STRUCTURED.values(), *BATCH.values(), *PLAIN.values(), "1.0", "%FF", '"', '"\\'],
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just("{"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*EVENT, "data_base64", "datacontenttype", "events", "Records"]),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=120, deadline=None)
@given(
    body=st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(NAMES, VALUES, max_size=6),
    method=st.sampled_from(["POST", "OPTIONS", "HEAD"]),
)
def test_no_request_raises_an_unexpected_exception(body, headers, method):
    incoming = request(body, headers, method=method)
    cloudevents = envelope(**OIDC)
    cloudevents.recognises(incoming)
    cloudevents.answer(incoming)
    with pytest.raises(Unverified):
        cloudevents.verify(incoming)
    try:
        for record in cloudevents.unwrap(incoming):
            assert isinstance(record, dict)
    except RelayError:
        pass
