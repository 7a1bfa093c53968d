"""Deliveries of Event Grid: two schemas, two handshakes, and the accepted senders."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens import ENTRA, ENTRA_KEYS, NOW, bearer, entra, request

from relay.config.load import SourceSettings
from relay.errors import RelayError, Unreadable, Unverified
from relay.model import Verdict
from relay.sources.envelopes.azure import ORIGIN, Azure

TOKEN = {"token": "hook-token"}
DATA = {
    "api": "PutBlockList",
    "eTag": '"0x8D4BCC2E4835CD0"',
    "contentLength": 524288,
    "url": "https://acc.blob.core.windows.net/exports/new-file.zip",
    "sequencer": "00000000000004420000000000028963",
}
CREATED = {
    "topic": "/subscriptions/x/providers/Microsoft.Storage/storageAccounts/acc",
    "subject": "/blobServices/default/containers/exports/blobs/new-file.zip",
    "eventType": "Microsoft.Storage.BlobCreated",
    "eventTime": "2017-06-26T18:41:00.9584103Z",
    "id": "831e1650-001e-001b-66ab-eeb76e069631",
    "data": DATA,
    "dataVersion": "",
    "metadataVersion": "1",
}
CLOUD = {
    "specversion": "1.0",
    "source": CREATED["topic"],
    "subject": CREATED["subject"],
    "type": "Microsoft.Storage.BlobCreated",
    "time": CREATED["eventTime"],
    "id": CREATED["id"],
    "data": DATA,
}
CODE = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
URL = "https://rp-eastus2.eventgrid.azure.net:553/eventsubscriptions/x/validate?token=1A1A1A1A"
VALIDATION = {
    "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
    "topic": CREATED["topic"],
    "subject": "",
    "data": {"validationCode": CODE, "validationUrl": URL},
    "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
    "eventTime": "2018-01-25T22:12:19.4556811Z",
    "metadataVersion": "1",
    "dataVersion": "1",
}
DELETED = {**VALIDATION, "eventType": "Microsoft.EventGrid.SubscriptionDeletedEvent", "data": {}}
NOTIFIED = {"aeg-event-type": "Notification", "content-type": "application/json; charset=utf-8"}
ASKING = {"webhook-request-origin": ORIGIN, "webhook-request-rate": "120"}


def envelope(**keys):
    return Azure(SourceSettings(kind="azure", **{**TOKEN, **keys}))


def unwrapped(body, headers=NOTIFIED):
    incoming = request(body, headers)
    assert envelope().recognises(incoming)
    return list(envelope().unwrap(incoming))


def test_each_event_of_the_array_is_a_record():
    two = [CREATED, {**CREATED, "id": "2"}]
    assert unwrapped([CREATED]) == [CREATED]
    assert unwrapped(two) == two
    assert unwrapped(CREATED) == [CREATED]


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (CLOUD, "application/cloudevents+json; charset=utf-8"),
        ([CLOUD], "application/cloudevents-batch+json; charset=utf-8"),
        ([CLOUD], "application/json"),
        (CLOUD, "application/json"),
    ],
)
def test_the_cloudevents_schema_is_read_too(body, media):
    for headers in ({"content-type": media}, {"content-type": media, **NOTIFIED}):
        assert unwrapped(body, {**headers, "content-type": media}) == [CLOUD]


def test_an_event_in_headers_is_read_as_a_structured_event():
    headers = {f"ce-{name}": value for name, value in CLOUD.items() if name != "data"}
    headers |= {"aeg-event-type": "Notification", "content-type": "application/json"}
    assert unwrapped(DATA, headers) == [{**CLOUD, "datacontenttype": "application/json"}]


def test_events_about_the_subscription_are_left_out():
    assert unwrapped([DELETED]) == []
    assert unwrapped([DELETED, CREATED]) == [CREATED]
    assert unwrapped({**CLOUD, "type": "Microsoft.EventGrid.SubscriptionDeletedEvent"}) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([{"subject": "x"}], "eventType is missing"),
        ([{"eventType": 5}], "eventType should be a text"),
        ([1], "should be an object"),
        ([{"specversion": "1.0", "type": "x"}], "source is missing"),
        (b"{", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
    ],
)
def test_an_invalid_event_is_unreadable_with_a_reason(body, words):
    with pytest.raises(Unreadable, match=words):
        unwrapped(body)


def test_an_invalid_event_in_a_batch_does_not_lose_the_others():
    records = envelope().unwrap(request([1, {"eventType": None}, CREATED, CLOUD], NOTIFIED))
    assert [next(records), next(records)] == [CREATED, CLOUD]
    with pytest.raises(Unreadable, match="should be an object"):
        next(records)


@pytest.mark.parametrize(
    "incoming",
    [
        request(b"\xff", {"aeg-event-type": "SubscriptionDeletion"}),
        request(b"{}", {"aeg-subscription-name": "MINE"}),
        request([CREATED]),
        request(CREATED),
        request([CLOUD]),
        request(b"", ASKING, method="OPTIONS"),
    ],
)
def test_own_deliveries_are_recognised(incoming):
    assert envelope().recognises(incoming)


@pytest.mark.parametrize(
    "incoming",
    [
        request({"Records": [CREATED]}),
        request({"eventType": "x"}),
        request({**CLOUD, "type": "com.example", "data": "Microsoft.Storage"}),
        request(b'[{"eventType": "Microsoft.Storage.BlobCreated"'),
        request(b'"Microsoft."'),
        request(b"", method="OPTIONS"),
    ],
)
def test_other_deliveries_are_not_recognised(incoming):
    assert not envelope().recognises(incoming)


# Handshakes


@pytest.fixture
def hook(make_hook):
    return make_hook(accept=["azure"], token_header="x-relay-token", **TOKEN)


def test_the_handshake_of_the_event_grid_schema_returns_the_code(hook, issuer):
    headers = {**NOTIFIED, "aeg-event-type": "SubscriptionValidation"}
    answer = hook.accept(request([VALIDATION], headers, query=TOKEN)).answer
    assert answer.status == 200
    assert json.loads(answer.body) == {"validationResponse": CODE}
    assert answer.headers["Content-Type"] == "application/json"
    [stored] = hook.stored()
    assert stored.verdict == Verdict.HANDSHAKE
    assert CODE.encode() not in stored.body
    assert b"1A1A1A1A" not in stored.body
    assert issuer.fetched == [], "the validation address must not be visited"


@pytest.mark.parametrize(
    "event",
    [
        {**CLOUD, "type": VALIDATION["eventType"], "data": VALIDATION["data"]},
        {**CLOUD, "type": VALIDATION["eventType"], "data": json.dumps(VALIDATION["data"])},
        VALIDATION,
    ],
)
def test_a_validation_event_is_answered_in_any_schema(event):
    for body in (event, [event]):
        answer = envelope().answer(request(body, NOTIFIED))
        assert json.loads(answer.body) == {"validationResponse": CODE}


def test_the_handshake_needs_the_same_credentials_as_a_delivery(hook):
    headers = {**NOTIFIED, "aeg-event-type": "SubscriptionValidation"}
    for query in ({}, {"token": "wrong"}):
        with pytest.raises(Unverified):
            hook.accept(request([VALIDATION], headers, query=query))
    assert hook.stored() == ()


@pytest.mark.parametrize(
    "body",
    [
        [VALIDATION, CREATED],
        [CREATED],
        [DELETED],
        [],
        b"{",
        [{**VALIDATION, "data": None}],
        [{**VALIDATION, "data": "{"}],
        [{**VALIDATION, "data": {"validationCode": 5}}],
        [{**VALIDATION, "data": {"validationCode": "x" * 500}}],
        [{**VALIDATION, "data": {"validationCode": "a\nb"}}],
        [{**VALIDATION, "eventType": 5}],
        [VALIDATION["eventType"]],
    ],
    ids=range(12),
)
def test_nothing_else_is_a_handshake(body):
    headers = {**NOTIFIED, "aeg-event-type": "SubscriptionValidation"}
    assert envelope().answer(request(body, headers)) is None


def test_the_event_of_a_deleted_subscription_is_stored_and_ignored(hook):
    headers = {**NOTIFIED, "aeg-event-type": "SubscriptionDeletion"}
    assert hook.accept(request([DELETED], headers, query=TOKEN)).events == 0
    assert [notification.verdict for notification in hook.stored()] == [Verdict.IGNORED]


@pytest.mark.parametrize("keys", [TOKEN, ENTRA, {**ENTRA, **TOKEN}])
@pytest.mark.parametrize("query", [{}, {"token": "hook-token"}])
def test_the_cloudevents_handshake_of_event_grid_is_answered(make_hook, issuer, keys, query):
    hook = make_hook(accept=["azure"], **keys)
    headers = {**ASKING, "webhook-request-callback": URL}
    answer = hook.accept(request(b"", headers, method="OPTIONS", query=query)).answer
    assert answer.status == 200
    assert answer.headers["WebHook-Allowed-Origin"] == ORIGIN
    assert answer.headers["WebHook-Allowed-Rate"] == "*"
    assert answer.headers["Allow"] == "POST"
    assert hook.stored() == ()
    assert issuer.fetched == [], "the callback must not be visited"


@pytest.mark.parametrize(
    ("origin", "query"),
    [
        (ORIGIN, {"token": "wrong"}),
        ("evil.example", {}),
        ("eventgrid.azure.net.evil.example", {}),
        ("eventgrid.azure.us", {"access_token": "wrong"}),
    ],
)
def test_a_handshake_of_another_sender_is_refused(hook, origin, query):
    headers = {"webhook-request-origin": origin}
    with pytest.raises(Unverified):
        hook.accept(request(b"", headers, method="OPTIONS", query=query))


def test_with_the_token_a_handshake_from_any_origin_is_answered(hook):
    headers = {"webhook-request-origin": "eventgrid.azure.us"}
    answer = hook.accept(request(b"", headers, method="OPTIONS", query=TOKEN)).answer
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.us"


def test_other_origins_are_left_to_the_cloudevents_envelope():
    both = envelope(accept=["azure", "cloudevents"])
    others = request(b"", {"webhook-request-origin": "x.example"}, method="OPTIONS")
    assert not both.recognises(others)
    assert both.recognises(request(b"", ASKING, method="OPTIONS"))


# Accepted senders


def test_without_credentials_it_is_absent_and_names_the_missing_settings():
    assert envelope(token=None).missing_setting() == "entra_tenant and entra_audience, or token"
    assert envelope(entra_tenant="x").missing_setting() == "entra_audience"
    assert envelope().missing_setting() is None


@pytest.mark.parametrize(
    ("headers", "query"),
    [({}, TOKEN), (bearer("hook-token"), {}), ({"x-relay-token": "hook-token"}, {})],
)
def test_the_token_is_accepted_where_event_grid_can_send_it(hook, headers, query):
    for body in ([CREATED], [CLOUD], CLOUD):
        hook.accept(request(body, {**NOTIFIED, **headers}, query=query))
    assert len(hook.stored()) == 3


def test_a_token_of_entra_is_accepted_for_deliveries_and_handshakes(make_hook, issuer):
    hook = make_hook(accept=["azure"], **ENTRA)
    headers = {**NOTIFIED, **bearer(issuer.token(entra()))}
    hook.accept(request([CREATED], headers))
    assert hook.accept(request([VALIDATION], headers)).answer
    assert len(hook.stored()) == 2
    assert issuer.fetched == [ENTRA_KEYS]


FORGED = {
    "nothing shown": lambda issuer, key: {},
    "the token alone": lambda issuer, key: bearer("hook-token"),
    "signed by another": lambda issuer, key: bearer(issuer.token(entra(), key=key)),
    "not signed": lambda issuer, key: bearer(issuer.unsigned(entra())),
    "public key as secret": lambda issuer, key: bearer(issuer.confused(entra())),
    "another app": lambda issuer, key: bearer(issuer.token(entra(appid="x"))),
    "another tenant": lambda issuer, key: bearer(
        issuer.token(entra(iss="https://sts.windows.net/other/"))
    ),
    "another audience": lambda issuer, key: bearer(issuer.token(entra(aud="api://other"))),
    "expired": lambda issuer, key: bearer(issuer.token(entra(exp=NOW.timestamp() - 61))),
    "not valid yet": lambda issuer, key: bearer(issuer.token(entra(nbf=NOW.timestamp() + 61))),
    "an unknown key": lambda issuer, key: bearer(issuer.token(entra(), kid="k9", key=key)),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forgery_is_not_stored(make_hook, issuer, stranger_key, forge):
    hook = make_hook(accept=["azure", "cloudevents"], **ENTRA, **TOKEN)
    shown = forge(issuer, stranger_key)
    for headers in (NOTIFIED, {"content-type": "application/cloudevents+json"}, {}):
        for body in ([CREATED], CLOUD, [VALIDATION]):
            with pytest.raises(Unverified):
                hook.accept(request(body, {**headers, **shown}, query=TOKEN))
    assert hook.stored() == ()


NAMES = st.sampled_from(
    ["aeg-event-type", "content-type", "ce-type", "ce-id", "webhook-request-origin"]
)
VALUES = st.text(max_size=9) | st.sampled_from(
    ["SubscriptionValidation", "application/cloudevents+json", ORIGIN, "application/json"]
)
JSON = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from([VALIDATION["eventType"], CREATED["eventType"], "1.0", "{}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*CREATED, "specversion", "source", "type", "validationCode"]),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=120, deadline=None)
@given(
    body=st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(NAMES, VALUES, max_size=5),
    method=st.sampled_from(["POST", "OPTIONS", "HEAD"]),
)
def test_no_request_raises_an_unexpected_exception(body, headers, method):
    incoming = request(body, headers, method=method)
    azure = envelope()
    azure.recognises(incoming)
    azure.answer(incoming)
    try:
        azure.verify(incoming)
    except Unverified:
        pass
    else:
        assert headers["webhook-request-origin"] == ORIGIN
    try:
        for record in azure.unwrap(incoming):
            assert isinstance(record, dict)
    except RelayError:
        pass
