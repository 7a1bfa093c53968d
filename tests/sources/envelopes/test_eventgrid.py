"""Huawei Cloud EventGrid: CloudEvents in any form from senders with the token."""

import base64

import pytest
from tokens import ENTRA, OIDC, bearer, request

from relay.config.load import SourceSettings
from relay.errors import Unverified
from relay.model import Verdict
from relay.sources.envelopes.eventgrid import EventGrid

TOKEN = "hook-token"
SHOWN = {"token": TOKEN}
DATA = {
    "obs": {
        "bucket": {"bucket": "exports", "name": "exports", "arn": ""},
        "Version": "1.0",
        "object": {
            "versionId": "G00101A0F057D2A5FFFFCB8700806592null",
            "size": 112,
            "eTag": "6f9433fb110632de417e2e697dcb1b5f",
            "key": "test.tar",
            "sequencer": "1",
        },
    },
    "eventVersion": "3.0",
    "eventSource": "OBS",
    "eventTime": "2026-09-30T11:24:42.533Z",
    "eventName": "ObjectCreated:Put",
    "eventRegion": "cn-east-3",
}
EVENT = {
    "datacontenttype": "application/json",
    "data": DATA,
    "subject": "test.tar",
    "specversion": "1.0",
    "id": "b27e6cbff1f6865c83111f130a982f56",
    "source": "HC.OBS.DWR",
    "time": "2026-09-30T03:24:43.167931174Z",
    "type": "OBS:DWR:ObjectCreated:PUT",
    "ttl": "4000",
    "dataschema": "",
}
PLAIN = {"content-type": "application/json"}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
BINARY = {
    "content-type": "application/json",
    **{f"ce-{name}": value for name, value in EVENT.items() if isinstance(value, str)},
}
GRID = EventGrid(SourceSettings(kind="s3", token=TOKEN, accept=("eventgrid",)))


@pytest.fixture
def hook(make_hook):
    return make_hook(accept=["eventgrid"], token=TOKEN)


def assert_refused(hook, incoming):
    with pytest.raises(Unverified):
        hook.accept(incoming)
    assert not hook.stored()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (EVENT, PLAIN),
        (EVENT, {}),
        ([EVENT], PLAIN),
        ({"events": [EVENT]}, PLAIN),
        (EVENT, STRUCTURED),
        ([EVENT], STRUCTURED),
        ([EVENT], BATCH),
        ({"events": [EVENT]}, STRUCTURED),
        (DATA, BINARY),
    ],
)
def test_the_event_is_the_same_in_every_form(body, headers):
    incoming = request(body, headers, query=SHOWN)
    assert GRID.recognises(incoming)
    GRID.verify(incoming)
    assert list(GRID.unwrap(incoming)) == [EVENT]


def test_the_list_of_events_in_the_guides_sample_is_read():
    sample = {
        "id": "4b26115b-73e-cf74",
        "specversion": "1.0",
        "source": "HC.OBS",
        "type": "object:put",
        "datacontenttype": "application/json",
        "subject": "xxx.jpg",
        "time": "2022-01-17T12:07:48.955Z",
        "data": {"name": "test01", "state": "enable"},
    }
    twenty = [{**sample, "id": str(number)} for number in range(20)]
    assert list(GRID.unwrap(request({"events": twenty}, PLAIN))) == twenty


def test_an_invalid_event_does_not_lose_the_others(hook):
    hook.accept(request([{}, EVENT], STRUCTURED, query=SHOWN))
    [stored] = hook.stored()
    assert stored.verdict == Verdict.UNREADABLE
    assert stored.envelopes == ("eventgrid",)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (PLAIN, {"token": TOKEN}),
        (PLAIN, {"access_token": TOKEN}),
        ({**PLAIN, "x-relay-token": TOKEN}, {}),
        ({**PLAIN, **bearer(TOKEN)}, {}),
        (
            {**PLAIN, "authorization": "Basic " + base64.b64encode(b"r:hook-token").decode()},
            {},
        ),
    ],
)
def test_the_token_is_accepted_in_the_url_or_in_a_header_of_apig(make_hook, headers, query):
    hook = make_hook(accept=["eventgrid"], token=TOKEN, token_header="X-Relay-Token")
    hook.accept(request(EVENT, headers, query=query))
    assert [notification.envelopes for notification in hook.stored()] == [("eventgrid",)]


@pytest.mark.parametrize("query", [{}, {"token": "wrong"}, {"token": ""}, {"Token": TOKEN}])
@pytest.mark.parametrize("headers", [PLAIN, STRUCTURED, BINARY])
def test_without_the_token_nothing_is_accepted(hook, headers, query):
    assert_refused(hook, request(EVENT, headers, query=query))


def test_a_source_without_a_token_refuses_every_sender(make_hook):
    assert EventGrid(SourceSettings(kind="s3")).missing_setting() == "token"
    assert_refused(make_hook(accept=["eventgrid"]), request(EVENT, query={"token": ""}))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", {}, {"Records": []}, [], [1], "HC."])
def test_other_requests_are_not_recognised_as_cloudevents(hook, body):
    assert_refused(hook, request(body, PLAIN, query=SHOWN))


def test_beside_other_envelopes_it_matches_only_huawei_cloud(make_hook):
    """At a source with several envelopes, a sender cannot choose the weakest."""
    keys = {"accept": ["azure", "cloudevents", "eventgrid"], "token": TOKEN, **OIDC, **ENTRA}
    hook = make_hook(**keys)
    of_google = {**EVENT, "source": "//storage.googleapis.com/x", "type": "google.x"}
    of_azure = {**EVENT, "source": "/subscriptions/x", "type": "Microsoft.Storage.BlobCreated"}
    for event in (of_google, of_azure):
        assert_refused(hook, request(event, PLAIN, query=SHOWN))
        headers = {**BINARY, "ce-source": event["source"], "ce-type": event["type"]}
        assert_refused(hook, request(DATA, headers, query=SHOWN))
    for body, headers in ((EVENT, PLAIN), (DATA, BINARY)):
        hook.accept(request(body, headers, query=SHOWN))
    assert [notification.envelopes for notification in hook.stored()] == [("eventgrid",)] * 2


def test_a_request_for_permission_with_the_token_is_granted(hook):
    origin = {"webhook-request-origin": "eventgrid.huaweicloud.com"}
    permission_request = request(b"", origin, method="OPTIONS", query=SHOWN)
    answer = hook.accept(permission_request).answer
    assert answer.status == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.huaweicloud.com"
    assert_refused(hook, request(b"", origin, method="OPTIONS"))
