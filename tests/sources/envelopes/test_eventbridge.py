"""EventBridge API destinations: whole events from senders with the token."""

import base64

import pytest
from tokens import bearer, request

from relay.config.load import SourceSettings
from relay.errors import Unverified
from relay.ledger import DeliveryQuery
from relay.model import Verdict
from relay.sources.envelopes import ENVELOPES
from relay.sources.envelopes.eventbridge import EventBridge

TOKEN = "hook-token"
EVENT = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2026-11-24T03:00:00Z",
    "region": "ca-central-1",
    "resources": ["arn:aws:s3:::exports"],
    "detail": {
        "version": "0",
        "bucket": {"name": "exports"},
        "object": {
            "key": "a+b %2B.zip",
            "size": 5,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "reason": "PutObject",
    },
}
SENT = {
    "content-type": "application/json; charset=utf-8",
    "user-agent": "Amazon/EventBridge/ApiDestinations",
    "range": "bytes=0-1048575",
    "connection": "close",
}
BRIDGE = EventBridge(SourceSettings(kind="s3", token=TOKEN))


@pytest.fixture
def hook(make_hook):
    return make_hook(accept=["eventbridge"], token=TOKEN)


def basic(user, password):
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {credentials}"}


def assert_refused(hook, incoming):
    with pytest.raises(Unverified):
        hook.accept(incoming)
    assert not hook.stored()


@pytest.mark.parametrize("shown", [bearer(TOKEN), basic("relay", TOKEN), {"x-api-key": TOKEN}])
def test_every_type_of_connection_can_send_the_token(make_hook, shown):
    hook = make_hook(accept=["eventbridge"], token=TOKEN, token_header="X-Api-Key")
    assert hook.accept(request(EVENT, {**SENT, **shown})).events == 1
    [stored] = hook.stored()
    assert stored.envelopes == ("eventbridge",)
    assert TOKEN not in str(stored.headers)


def test_a_token_header_with_any_name_is_not_stored(make_hook):
    hook = make_hook(accept=["eventbridge"], token=TOKEN, token_header="X-Relay")
    hook.accept(request(EVENT, {**SENT, "x-relay": TOKEN}))
    assert hook.stored()[0].headers["x-relay"] == "[redacted]"


def test_the_handler_receives_the_whole_event():
    assert list(BRIDGE.unwrap(request(EVENT))) == [EVENT]


def test_the_key_is_not_decoded(make_hook):
    hook = make_hook(accept=["eventbridge"], token=TOKEN)
    hook.accept(request(EVENT, bearer(TOKEN)))
    [delivery] = hook.ledger.history.deliveries(DeliveryQuery()).items
    assert delivery.key == "a+b %2B.zip"


@pytest.mark.parametrize(
    "headers",
    [SENT, {**SENT, **bearer("wrong")}, {**SENT, **basic("relay", "wrong")}, {"x-api-key": TOKEN}],
)
def test_a_request_without_the_token_is_refused(hook, headers):
    assert_refused(hook, request(EVENT, headers))


def test_without_a_token_it_is_absent(make_hook):
    assert EventBridge(SourceSettings(kind="s3")).missing_setting() == "token"
    assert_refused(make_hook(accept=["eventbridge"]), request(EVENT, {**SENT, **bearer("")}))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        {},
        [],
        {"Records": []},
        {"bucket": "exports", "key": "a.zip", "id": "i"},
        {"detail-type": "Object Created", "source": "aws.s3"},
        [EVENT, 1],
        "detail-type",
    ],
)
def test_other_bodies_are_not_recognised(hook, body):
    assert not BRIDGE.recognises(request(body))
    assert_refused(hook, request(body, bearer(TOKEN)))


def test_the_output_of_an_input_transformer_is_bare(make_hook):
    hook = make_hook(accept=["eventbridge", "bare"], token=TOKEN)
    own_record = {"bucket": "exports", "key": "a.zip", "version": "v1"}
    assert hook.accept(request(own_record, bearer(TOKEN))).events == 1
    assert [notification.envelopes for notification in hook.stored()] == [("bare",)]


def test_an_event_of_another_service_is_stored_and_ignored(hook):
    hook.accept(request({**EVENT, "detail-type": "Object Deleted"}, bearer(TOKEN)))
    assert [notification.verdict for notification in hook.stored()] == [Verdict.IGNORED]


def test_it_is_tried_before_bare():
    names = list(ENVELOPES)
    assert names.index("eventbridge") < names.index("bare")
