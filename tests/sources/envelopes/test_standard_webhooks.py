"""Own records signed by a script, compared with the reference library."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from tokens import HOUR, NOW, bearer, request

from relay.config.load import SourceSettings
from relay.errors import Unverified
from relay.ledger import DeliveryQuery
from relay.model import Verdict
from relay.sources.envelopes.standard_webhooks import StandardWebhooks
from tests.senders import OWN, encoded, signed

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
BODY = encoded(OWN)
KEYS = {"accept": ["signed"], "secret": SECRET}
SECOND = timedelta(seconds=1)


@pytest.fixture
def hook(make_hook):
    return make_hook(**KEYS)


def sign(body=BODY, *, key=KEY, at=NOW, name="msg_1", **changed):
    """The headers of a signed body. `changed`: names with _ for -; None leaves a header out."""
    headers = signed(key, body, at, name)
    headers |= {f"webhook-{part}": value for part, value in changed.items()}
    return {name: value for name, value in headers.items() if value is not None}


def assert_refused(hook, incoming, *words):
    with pytest.raises(Unverified) as raised:
        hook.accept(incoming)
    assert not hook.stored()
    assert SECRET not in str(raised.value)
    for word in words:
        assert word in str(raised.value)


# Accepted messages


def test_a_signature_of_the_reference_library_is_accepted(make_hook):
    now = datetime.now(UTC).replace(microsecond=0)
    signature = Webhook(SECRET).sign("msg_1", now, BODY.decode())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    assert make_hook(**KEYS).accept(request(BODY, headers, now=now)).events == 1


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"id": "msg_2"},
        {"signature": "v1,AAAA"},
        {"signature": "v1a,AAAA"},
        {"signature": None},
        {"timestamp": None},
        {"id": None},
        {"timestamp": "1"},
    ],
)
def test_it_accepts_no_more_than_the_reference_library(hook, changed):
    now = datetime.now(UTC)
    headers = sign(at=now, **changed)
    try:
        Webhook(SECRET).verify(BODY.decode(), headers)
    except WebhookVerificationError:
        assert_refused(hook, request(BODY, headers, now=now))
    else:
        assert hook.accept(request(BODY, headers, now=now)).events == 1


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (SECRET, KEY),
        (SECRET.rstrip("="), KEY),
        ("plain text, déjà vu", "plain text, déjà vu".encode()),
        (base64.b64encode(KEY).decode(), base64.b64encode(KEY)),
    ],
)
def test_a_secret_is_base64_after_whsec_and_else_the_key_itself(make_hook, secret, key):
    hook = make_hook(accept=["signed"], secret=secret)
    assert hook.accept(request(BODY, sign(key=key))).events == 1


def test_one_valid_signature_of_several_is_enough(hook):
    good = sign()["webhook-signature"]
    headers = sign(signature=f"v1a,AAAA v1,AAAA {good} v2,AAAA")
    assert hook.accept(request(BODY, headers)).events == 1


@pytest.mark.parametrize("off", [timedelta(0), HOUR, -HOUR])
def test_a_message_exactly_as_old_or_early_as_max_age_is_accepted(hook, off):
    assert hook.accept(request(BODY, sign(at=NOW + off))).events == 1


def test_max_age_can_be_configured(make_hook):
    hook = make_hook(**KEYS, max_age="5m")
    assert_refused(hook, request(BODY, sign(at=NOW - timedelta(minutes=6))), "max_age")
    assert hook.accept(request(BODY, sign(at=NOW - timedelta(minutes=4)))).events == 1


def test_the_signature_is_not_stored_and_the_message_id_is_the_identity(hook):
    hook.accept(request(BODY, sign()))
    [stored] = hook.stored()
    assert (stored.body, stored.envelopes, stored.verdict) == (BODY, ("signed",), Verdict.ACCEPTED)
    assert stored.headers["webhook-signature"] == "[redacted]"
    assert stored.headers["webhook-id"] == "msg_1"


# Reading of the body


@pytest.mark.parametrize(
    "body",
    [OWN, [OWN], {"events": [OWN]}, [OWN, {**OWN, "key": "b.zip"}]],
    ids=["one", "list", "events", "two"],
)
def test_a_record_a_list_and_events_are_read(hook, body):
    raw = encoded(body)
    wanted = 2 if isinstance(body, list) and len(body) == 2 else 1
    assert hook.accept(request(raw, sign(raw))).events == wanted


def test_a_repeated_message_is_the_same_upload(hook):
    raw = encoded({"bucket": "exports", "key": "a.zip"})
    assert hook.accept(request(raw, sign(raw))).events == 1
    again = sign(raw, at=NOW + SECOND)
    assert hook.accept(request(raw, again)).events == 0
    assert hook.accept(request(raw, sign(raw, name="msg_2"))).events == 1


def test_a_replay_finds_nothing_new(hook):
    raw = encoded({"bucket": "exports", "key": "a.zip"})
    receipt = hook.accept(request(raw, sign(raw)))
    assert hook.intake.replay(receipt.notification).events == 0


def test_a_forwarded_record_of_a_storage_is_accepted(hook):
    """Forwarders such as Tencent's functions sign the record of the storage."""
    thing = {"bucket": {"name": "exports"}, "object": {"key": "a.zip", "eTag": "e1"}}
    record = {"eventName": "ObjectCreated:Put", "eventTime": "2026-11-24T03:00:00Z", "s3": thing}
    raw = encoded({"Records": [record]})
    assert hook.accept(request(raw, sign(raw))).events == 1


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"null", b"[]", b'{"bucket":"b","key":""}'])
def test_a_signed_but_unreadable_body_is_stored(hook, body):
    hook.accept(request(body, sign(body)))
    assert [notification.verdict for notification in hook.stored()] == [Verdict.UNREADABLE]
    assert hook.ledger.history.deliveries(DeliveryQuery()).items == ()


# Forgeries


@pytest.mark.parametrize(
    "changed",
    [
        {"id": None},
        {"id": ""},
        {"timestamp": None},
        {"timestamp": ""},
        {"signature": None},
        {"signature": ""},
        {"signature": "v1"},
        {"signature": "v1,"},
        {"signature": "v2,{good}"},
        {"signature": "{good}"},
        {"signature": "v1={good}"},
        {"signature": "v1, {good}"},
        {"signature": "v1,é"},
        {"id": "msg_2"},
        {"id": "msg"},
    ],
)
def test_an_incomplete_or_wrong_signature_is_refused(hook, changed):
    good = sign()["webhook-signature"].removeprefix("v1,")
    arguments = {
        name: value.replace("{good}", good) if isinstance(value, str) else value
        for name, value in changed.items()
    }
    assert_refused(hook, request(BODY, sign(**arguments)))


@pytest.mark.parametrize("sent", ["1e9", "-1", " 1", "１７６４", "9" * 12, "9" * 400, "now", "1.0"])
def test_an_invalid_timestamp_is_refused(hook, sent):
    assert_refused(hook, request(BODY, sign(timestamp=sent)), "too long ago")


@pytest.mark.parametrize("off", [-HOUR - SECOND, HOUR + SECOND, timedelta(days=-400)])
def test_a_message_from_the_past_or_the_future_is_refused(hook, off):
    assert_refused(hook, request(BODY, sign(at=NOW + off)), "too long ago")


def test_a_new_timestamp_does_not_renew_an_old_message(hook):
    old = sign(at=NOW - timedelta(days=2))
    assert_refused(hook, request(BODY, {**old, "webhook-timestamp": str(int(NOW.timestamp()))}))


@pytest.mark.parametrize("key", [b"", b"\0" * 32, KEY[:-1], SECRET.encode()])
def test_another_key_is_refused(hook, key):
    assert_refused(hook, request(BODY, sign(key=key)), "wrong signature")


def test_a_body_that_was_changed_is_refused(hook):
    for place in range(0, len(BODY), 7):
        changed = bytearray(BODY)
        changed[place] ^= 1
        assert_refused(hook, request(bytes(changed), sign()))
    assert_refused(hook, request(BODY + b"\n", sign()))


def test_text_cannot_be_moved_between_id_time_and_body(hook):
    body = b"1." + BODY
    name, sent = "msg", int(NOW.timestamp())
    shifted = {**sign(body, name=name), "webhook-id": f"{name}.{sent}"}
    assert_refused(hook, request(BODY, shifted))
    assert_refused(hook, request(BODY, {**shifted, "webhook-timestamp": "1"}))


@pytest.mark.parametrize("secret", [None, "", "whsec_", "whsec_!!!", "whsec_A"])
def test_without_a_key_it_is_absent_and_verifies_no_request(secret):
    envelope = StandardWebhooks(SourceSettings(kind="s3", secret=secret))
    assert "secret" in envelope.missing_setting()
    with pytest.raises(Unverified):
        envelope.verify(request(BODY, sign(key=b"")))


def test_the_token_does_not_replace_the_signature(make_hook):
    hook = make_hook(accept=["signed", "bare"], secret=SECRET, token="hook-token")
    broken = {**sign(signature="v1,AAAA"), **bearer("hook-token")}
    assert_refused(hook, request(BODY, broken))
    assert_refused(hook, request(BODY))
    assert hook.accept(request(BODY, bearer("hook-token"))).events == 1


def test_a_signature_does_not_replace_the_token(make_hook):
    assert_refused(make_hook(accept=["bare"], token="hook-token"), request(BODY, sign()))
    assert_refused(make_hook(accept=["signed", "bare"], token="hook-token"), request(BODY, sign()))


def test_equal_json_with_another_spelling_is_another_body(hook):
    other = json.dumps(OWN, indent=1).encode()
    assert_refused(hook, request(other, sign()))
