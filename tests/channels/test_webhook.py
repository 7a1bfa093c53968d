"""The generic webhook: signatures of Standard Webhooks, and errors of receivers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from relay.channels.samples import PROBLEM, message
from relay.channels.webhook.channel import Channel, WebhookSettings, encode
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import utc_now
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import HOSTILE, ChannelSuite
from relay.testing.fake_server import SECRET_PATH, Received, Reply
from relay.testing.sandbox.inbox import InboxServer
from tests.fake_internet import Reply as HttpReply

OLD = "whsec_" + base64.b64encode(b"the old key, 24 bytes or more").decode()
NEW = "whsec_" + base64.b64encode(b"\x00\xff" * 16).decode()
ID = "01kq3v0m5n6p7q8r9s0t1v2wms"


def build_channel(url, outbound, secret=(), language="en", clock=utc_now):
    settings = WebhookSettings(kind="webhook", url=url, secret=secret, language=language)
    return Channel("hook", settings, outbound, clock=clock)


class TestWebhook(ChannelSuite):
    accepts = Reply(204)
    refuses = Reply(410, "gone")
    secrets = (OLD, NEW)

    def make(self, url, language, outbound):
        return build_channel(url, outbound, [OLD, NEW], language)

    def shown_id(self, received: Received):
        return received.headers["webhook-id"]

    def assert_harmless(self, received: Received):
        # Programs read the body: the key is exact, and the JSON is valid.
        body = received.json()
        assert body["data"]["bucket"] == "exports"
        assert body["data"]["key"].startswith(HOSTILE)
        assert set(body) == {"type", "timestamp", "data"}
        assert received.body.isascii()


@pytest.fixture
def post(stand_in, outbound):
    channels = []

    def post(sample, **settings):
        channels.append(build_channel(stand_in.url, outbound, **settings))
        channels[-1].post(sample)
        return stand_in.received[-1]

    yield post
    for channel in channels:
        channel.close()


def test_the_official_library_accepts_the_signature_of_either_secret(post):
    received = post(message("import.succeeded"), secret=[OLD, NEW])
    for secret in (OLD, NEW):
        body = Webhook(secret).verify(received.body, dict(received.headers))
        assert body["data"]["func_name"] == "orders"


def test_the_official_library_rejects_another_secret_and_a_changed_body(post):
    received = post(message("import.succeeded"), secret=OLD)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(received.body, dict(received.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(received.body.replace(b"orders", b"other!"), dict(received.headers))


def test_the_signature_is_the_hmac_of_id_time_and_body(post):
    now = datetime(2026, 3, 4, 5, 6, 7, 890000, UTC)
    received = post(message("import.failed"), secret=NEW, clock=lambda: now)
    data = b"01kq3v0m5n6p7q8r9s0t1v2wms.1772600767." + received.body
    digest = hmac.new(b"\x00\xff" * 16, data, hashlib.sha256).digest()
    assert received.headers["webhook-timestamp"] == "1772600767"
    assert received.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_a_retry_has_a_new_timestamp_and_the_same_id_and_body(post):
    times = iter([datetime(2026, 3, 4, tzinfo=UTC), datetime(2026, 3, 5, tzinfo=UTC)])
    clock = lambda: next(times)  # noqa: E731
    sample = message("import.failed")
    settings = {"secret": OLD, "clock": clock}
    first, second = post(sample, **settings), post(sample, **settings)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == ID
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert first.body == second.body


def test_without_a_secret_the_message_is_not_signed(post):
    received = post(message("import.failed"))
    assert received.headers["webhook-id"] == ID
    assert "webhook-signature" not in received.headers


def test_the_body_of_a_success(post):
    received = post(message("import.succeeded"))
    assert received.headers["content-type"] == "application/json"
    body = received.json()
    assert body["type"] == "import.succeeded"
    assert body["timestamp"] == "2026-03-04T05:06:07Z"
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert body["data"] == {
        "delivery": "01kq3v0m5n6p7q8r9s0t1v2w3x",
        "source": "exports",
        "route": "exports",
        "bucket": "exports",
        "key": "prod/orders.zip",
        "version": "v7",
        "size": 1_500_000,
        "target": "prod",
        "func_name": "orders",
        "package": "default",
        "func_urn": "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest",
        "region": "cn-north-4",
        "how": "created",
        "effect": None,
        "differences": None,
        "not_applied": None,
        "unknown_fields": None,
        "warnings": [],
        "answer": None,
        "runtime": "Python3.10",
        "digest": "9b71d224bd62",
        "attempts": 2,
        "trigger": "automatic",
        "duration_seconds": 4.2,
        "reason": None,
        "error": None,
        "links": {"delivery": page, "retrigger": f"{page}#retrigger"},
    }


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sentences_are_strings_in_the_language_of_the_channel(post, language):
    failed = post(message("import.failed"), language=language).json()["data"]
    assert failed["error"] == {
        "code": "archive.truncated",
        "message": PROBLEM.message.in_language(language),
        "hint": PROBLEM.hint.in_language(language),
    }
    skipped = post(message("import.skipped"), language=language).json()["data"]
    assert skipped["reason"]["code"] == "unchanged"
    expected = {
        "en": "The target already holds exactly this code.",
        "zh": "目标已有完全相同的代码。",
    }
    assert skipped["reason"]["message"] == expected[language]


def test_lone_surrogates_in_a_key_are_replaced():
    body = encode(message("import.failed", key="a\ud800b"), "en")
    assert "\\ud800" not in body.decode()
    assert json.loads(body)["data"]["key"] == "a\ufffdb"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 425, 500, 502, 504])
def test_other_error_statuses_are_temporary(stand_in, outbound, status):
    channel = build_channel(stand_in.url, outbound)
    stand_in.replies.append(Reply(status, "what?", {"Retry-After": "7"}))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    channel.close()
    assert not isinstance(caught.value, Throttled)
    assert caught.value.retry_after == timedelta(seconds=7)
    assert caught.value.answer == f"{status} what?"


@pytest.mark.parametrize(("status", "headers"), [(429, {}), (503, {"Retry-After": "7"})])
def test_a_receiver_that_asks_to_wait_holds_the_channel(stand_in, outbound, status, headers):
    channel = build_channel(stand_in.url, outbound)
    stand_in.replies.append(Reply(status, "", headers))
    with pytest.raises(Throttled):
        channel.post(message("import.failed"))
    channel.close()


def test_410_is_a_permanent_failure_with_a_hint(stand_in, outbound):
    channel = build_channel(stand_in.url, outbound)
    stand_in.replies.append(Reply(410))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    channel.close()
    assert caught.value.code == "webhook.gone"
    assert "channels.hook" in caught.value.hint.en


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_error_and_not_followed(stand_in, outbound, status):
    channel = build_channel(stand_in.url, outbound)
    stand_in.replies.append(Reply(status, "", {"Location": stand_in.url}))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    channel.close()
    assert caught.value.code == "channel.moved"
    assert "redirect" in caught.value.message.en
    assert [received.path for received in stand_in.received] == [SECRET_PATH]


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("hunter2-hunter2-hunter2", "starts with whsec_"),
        ("whsec_hunter2-*!", "not base64"),
        ("whsec_" + base64.b64encode(b"short").decode(), "24 to 64"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64"),
        ([OLD, "whsec_c2hvcnQ="], "24 to 64"),
    ],
)
def test_an_invalid_secret_is_refused_and_not_shown(secret, text):
    with pytest.raises(ValidationError, match=text) as caught:
        WebhookSettings(kind="webhook", url="https://example.com/hook", secret=secret)
    for value in [secret] if isinstance(secret, str) else secret:
        assert value not in str(caught.value)


@pytest.mark.parametrize("secret", ["", [], [""]])
def test_an_empty_secret_is_ignored(secret):
    settings = WebhookSettings(kind="webhook", url="https://example.com/hook", secret=secret)
    assert settings.secrets == ()


def test_a_secret_without_padding_is_accepted(post):
    unpadded = OLD.rstrip("=")
    assert unpadded != OLD
    received = post(message("import.failed"), secret=unpadded)
    Webhook(OLD).verify(received.body, dict(received.headers))


@pytest.mark.parametrize(
    "url", ["ftp://example.com/s3cret", "example.com/s3cret", "https:///s3cret"]
)
def test_an_invalid_url_is_refused_and_not_shown(url):
    with pytest.raises(ValidationError, match="starts with https://") as caught:
        WebhookSettings(kind="webhook", url=url)
    assert "s3cret" not in str(caught.value)


def test_the_inbox_of_the_sandbox_verifies_messages_and_recognises_retries(outbound):
    with InboxServer(webhook_secret=OLD) as inbox:
        channel = build_channel(f"{inbox.url}/webhook/ops", outbound, secret=[NEW, OLD])
        channel.post(message("import.failed"))
        channel.post(message("import.failed"))
        channel.close()
    assert [received.verified for received in inbox.messages] == [True, True]
    assert inbox.messages[0].webhook_id == inbox.messages[1].webhook_id == ID
    assert inbox.messages[1].repeat > inbox.messages[0].repeat


ADDRESS = "https://hooks.example.com/relay/s3cret-word-of-the-path"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (HttpReply(204), None),
        (HttpReply(200, b"thanks"), None),
        (HttpReply(410, b"gone"), PermanentFailure),
        (HttpReply(429, b"wait", {"Retry-After": "7"}), Throttled),
        (HttpReply(500, b"oops"), TemporaryFailure),
        (HttpReply(301, b"", {"Location": "https://elsewhere.example/"}), TemporaryFailure),
    ],
)
def test_responses_of_an_https_receiver_are_classified(internet, reply, error):
    internet.serve("hooks.example.com", lambda _: reply)
    channel = build_channel(ADDRESS, HttpClientFactory(allow_private=internet.allowed), [OLD])
    sample = message("import.failed")
    if error is None:
        channel.post(sample)
    else:
        with pytest.raises(error) as caught:
            channel.post(sample)
        assert type(caught.value) is error
        assert "s3cret" not in f"{caught.value} {caught.value.answer}"
    channel.close()
    [request] = internet.requests
    assert request.path == "/relay/s3cret-word-of-the-path"
    assert Webhook(OLD).verify(request.body, dict(request.headers))["type"] == "import.failed"
