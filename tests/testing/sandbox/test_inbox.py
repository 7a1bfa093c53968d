"""The inbox: responses of the chat services, signatures, and the page of messages."""

import base64
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from relay.errors import ConfigError
from relay.testing.sandbox.inbox import InboxServer

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()
EVENT = {"type": "import.failed", "timestamp": "2026-11-24T06:00:00Z", "data": {"key": "a.zip"}}


@pytest.fixture
def inbox() -> Iterator[InboxServer]:
    with InboxServer(webhook_secret=SECRET) as server:
        yield server


def slack(inbox: InboxServer, message: Any) -> requests.Response:
    return requests.post(f"{inbox.url}/slack/T0/B0/x", json=message, timeout=10)


def webhook(inbox: InboxServer, body: bytes, **changes: str) -> requests.Response:
    stamp = datetime.now(UTC)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(int(stamp.timestamp())),
        "webhook-signature": signature("m1", stamp, body),
        "content-type": "application/json",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    return requests.post(f"{inbox.url}/webhook/ops", data=body, headers=headers, timeout=10)


def signature(name: str, stamp: datetime, body: bytes) -> str:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = f"{name}.{int(stamp.timestamp())}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


BODY = json.dumps(EVENT).encode()


def test_slack_responds_with_ok(inbox: InboxServer) -> None:
    response = slack(inbox, {"text": "hello"})
    assert (response.status_code, response.text) == (200, "ok")
    [message] = inbox.messages
    assert (message.channel, message.path) == ("slack", "/slack/T0/B0/x")
    assert message.json == {"text": "hello"}
    assert (message.verified, message.status, message.repeat) == (None, 200, 1)


@pytest.mark.parametrize(
    ("message", "words"), [("[", "invalid_payload"), ("[]", "invalid_payload"), ("{}", "no_text")]
)
def test_slack_rejects_an_invalid_message(inbox: InboxServer, message: str, words: str) -> None:
    response = requests.post(f"{inbox.url}/slack/x", data=message, timeout=10)
    assert (response.status_code, response.text) == (400, words)
    assert inbox.messages[0].status == 400


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "action_prohibited"), (404, "no_service"), (410, "channel_is_archived")],
)
def test_slack_faults_have_the_texts_of_slack(inbox: InboxServer, status: int, words: str) -> None:
    inbox.fault(operation="slack", status=status)
    response = slack(inbox, {"text": "hello"})
    assert (response.status_code, response.text) == (status, words)
    assert slack(inbox, {"text": "hello"}).text == "ok"


def test_slack_can_report_an_error_with_200(inbox: InboxServer) -> None:
    inbox.fault(operation="slack", status=200, message="no_team")
    response = slack(inbox, {"text": "hello"})
    assert (response.status_code, response.text) == (200, "no_team")


def test_a_valid_signature_is_verified(inbox: InboxServer) -> None:
    response = webhook(inbox, BODY)
    assert (response.status_code, response.content) == (204, b"")
    [message] = inbox.messages
    assert message.verified is True
    assert message.json == EVENT
    assert message.webhook_id == "m1"


def test_a_signature_of_the_official_library_is_verified(inbox: InboxServer) -> None:
    now = datetime.now(UTC)
    signed = Webhook(SECRET).sign("m2", now, BODY.decode())
    stamp = str(int(now.timestamp()))
    response = webhook(
        inbox, BODY, webhook_id="m2", webhook_timestamp=stamp, webhook_signature=signed
    )
    assert response.status_code == 204


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook_signature": ""},
        {"webhook_signature": "v1,AAAA"},
        {"webhook_signature": "nonsense v1a,x"},
        {"webhook_id": "other"},
        {"webhook_id": ""},
        {"webhook_timestamp": "0"},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": "-1"},
        {"webhook_timestamp": "9" * 40},
    ],
)
def test_a_message_with_a_wrong_signature_is_401_and_recorded(
    inbox: InboxServer, changes: dict[str, str]
) -> None:
    assert webhook(inbox, BODY, **changes).status_code == 401
    assert inbox.messages[0].verified is False


def test_a_single_valid_signature_among_several_is_sufficient(inbox: InboxServer) -> None:
    both = f"v1,AAAA {signature('m1', datetime.now(UTC), BODY)}"
    assert webhook(inbox, BODY, webhook_signature=both).status_code == 204


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_or_early_message_is_refused(minutes: int) -> None:
    now = datetime.now(UTC) + timedelta(minutes=minutes)
    with InboxServer(webhook_secret=SECRET, clock=lambda: now) as inbox:
        assert webhook(inbox, BODY).status_code == 401


def test_without_a_secret_nothing_is_verified() -> None:
    with InboxServer() as inbox:
        assert webhook(inbox, BODY, webhook_signature="").status_code == 204
        assert inbox.messages[0].verified is None


def test_repeats_are_counted_by_id(inbox: InboxServer) -> None:
    inbox.fault(operation="webhook", status=503, retry_after=1)
    assert webhook(inbox, BODY).headers["Retry-After"] == "1"
    webhook(inbox, BODY)
    assert [(message.status, message.repeat) for message in inbox.messages] == [(503, 1), (204, 2)]


def test_a_connection_can_be_reset(inbox: InboxServer) -> None:
    inbox.fault(operation="*", drop=True)
    with pytest.raises(requests.ConnectionError):
        slack(inbox, {"text": "hello"})
    assert inbox.messages[0].status is None


def test_a_response_can_be_delayed(inbox: InboxServer) -> None:
    inbox.fault(operation="slack", delay=0.2)
    began = time.monotonic()
    assert slack(inbox, {"text": "hello"}).text == "ok"
    assert time.monotonic() - began >= 0.2


def test_a_fault_for_an_unknown_channel_is_reported(inbox: InboxServer) -> None:
    with pytest.raises(ConfigError, match="slack, webhook"):
        inbox.fault(operation="import", status=500)


def test_an_invalid_secret_is_reported_without_showing_it() -> None:
    with pytest.raises(ConfigError) as caught:
        InboxServer(webhook_secret="whsec_not base64!")
    assert "not base64!" not in str(caught.value)


def test_a_large_body_is_refused_unread(inbox: InboxServer) -> None:
    response = requests.post(f"{inbox.url}/slack/x", data=bytes(2 << 20), timeout=10)
    assert response.status_code == 413
    assert inbox.messages == []


def test_other_paths_are_not_found(inbox: InboxServer) -> None:
    assert requests.post(f"{inbox.url}/teams/x", json={}, timeout=10).status_code == 404


def test_the_page_shows_messages_and_escapes_them(inbox: InboxServer) -> None:
    hostile = "<script>alert(1)</script>"
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "in a *block*"}}
    slack(inbox, {"text": hostile, "blocks": [section]})
    webhook(inbox, json.dumps({"type": "import.failed", "data": {"key": hostile}}).encode())
    page = requests.get(inbox.url, timeout=10)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert hostile not in page.text
    assert page.text.count("&lt;script&gt;") >= 2
    assert "in a *block*" in page.text
    assert "signature verified" in page.text
    assert "✗ failed" in page.text
    assert page.text.index("webhook") < page.text.index("in a *block*")


def test_the_page_without_messages(inbox: InboxServer) -> None:
    assert "Nothing yet." in requests.get(inbox.url, timeout=10).text


def test_messages_are_available_to_other_processes(inbox: InboxServer) -> None:
    slack(inbox, {"text": "你好"})
    [message] = requests.get(f"{inbox.url}/messages", timeout=10).json()
    assert (message["channel"], message["json"]) == ("slack", {"text": "你好"})


def test_close_ends_all_threads_and_keeps_the_messages() -> None:
    before = set(threading.enumerate())
    with InboxServer() as inbox, requests.Session() as session:
        session.post(f"{inbox.url}/slack/x", json={"text": "hello"}, timeout=10)
    assert set(threading.enumerate()) <= before
    assert len(inbox.messages) == 1
