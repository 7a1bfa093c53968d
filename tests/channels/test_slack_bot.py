"""The Slack channel as a bot: threads, marks, and errors of the Web API."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from relay.channels.card import build_card
from relay.channels.samples import digest, message
from relay.channels.slack.card import LONGEST_TEXT, render
from relay.channels.slack.channel import Channel, SlackSettings
from relay.channels.slack.errors import BOT, WEBHOOK
from relay.config.load import load, secrets
from relay.config.units import RateLimit
from relay.errors import ConfigErrors, PermanentFailure, TemporaryFailure, Throttled
from relay.outbound.session import HttpClientFactory
from relay.plugins import settings_class
from relay.testing.channel_suite import ChannelSuite
from relay.testing.fake_server import Reply
from tests.channels.cards import cards, full_cards
from tests.fake_internet import Reply as HttpReply

TOKEN = "xoxb-1234567890-abcdefghijkl"
TOP = "1503435956.000247"
THREAD = f"C024BE91L:{TOP}"


class FakeSlack:
    """slack.com with the channel C024BE91L, #ops. The bot of TOKEN is a member.

    `refusals`: responses of a method to send instead, once each.
    """

    def __init__(self):
        self.calls = []
        self.refusals = {}
        self.member = True
        self.archived = False

    def __call__(self, request):
        method = request.path.removeprefix("/api/")
        form = request.headers["content-type"].startswith("application/x-www-form-urlencoded")
        body = (
            {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
            if form
            else json.loads(request.body)
        )
        self.calls.append((method, body))
        if self.refusals.get(method):
            return self.refusals[method].pop(0)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return json_bytes(ok=False, error="invalid_auth")
        return self.answer(method, body)

    def answer(self, method, body):
        if method == "auth.test":
            return json_bytes(ok=True, team="Acme", user="relay", team_id="T1", user_id="U1")
        if body.get("channel") not in ("C024BE91L", "#ops"):
            return json_bytes(ok=False, error="channel_not_found")
        if method == "conversations.info":
            info = {"id": "C024BE91L", "name": "ops", "is_member": self.member}
            return json_bytes(ok=True, channel=info | {"is_archived": self.archived})
        # Slack returns the whole message, which is longer than an excerpt.
        echo = {"text": body.get("text"), "blocks": body.get("blocks")}
        ts = body.get("ts") or f"{1503435955 + len(self.calls)}.000247"
        return json_bytes(ok=True, channel="C024BE91L", ts=ts, message=echo)

    def refuse(self, method, *errors, status=200, headers=None):
        bodies = [json_bytes(ok=False, error=error) for error in errors]
        self.refusals[method] = [HttpReply(status, body, headers or {}) for body in bodies]


def json_bytes(**fields):
    return json.dumps(fields).encode()


def build_bot(outbound, channel="C024BE91L", **keys):
    settings = SlackSettings(kind="slack", token=TOKEN, channel=channel, **keys)
    return Channel("ops", settings, outbound)


def recovery(thread=THREAD):
    sample = message("import.succeeded")
    body = {**sample.body, "recovered": {"failed_at": "2026-03-04T05:00:00Z", "message": "x"}}
    return type(sample)(sample.id, sample.type, sample.timestamp, body, thread)


@pytest.fixture
def slack(internet):
    slack = FakeSlack()
    internet.serve("slack.com", slack)
    return slack


@pytest.fixture
def channel(slack, internet):
    channel = build_bot(HttpClientFactory(allow_private=internet.allowed, read_timeout=5))
    yield channel
    channel.close()


class TestSlackBot(ChannelSuite):
    accepts = Reply(200, json.dumps({"ok": True, "channel": "C024BE91L", "ts": TOP}))
    refuses = Reply(200, json.dumps({"ok": False, "error": "not_in_channel"}))
    secrets = (TOKEN,)

    def make(self, url, language, outbound):
        settings = SlackSettings(kind="slack", token=TOKEN, channel="#ops", language=language)
        return Channel("ops", settings, outbound, api=url)


def test_a_message_is_posted_to_the_channel_and_the_thread_is_returned(channel, slack, internet):
    posted = channel.post(message("import.failed"))
    [(method, body)] = slack.calls
    assert (method, body["channel"]) == ("chat.postMessage", "C024BE91L")
    assert body["text"] == "❌ Import failed: orders – The end of the archive is missing"
    assert "thread_ts" not in body
    assert posted.thread == THREAD
    assert posted.answer == f"200 ok, ts {TOP}"
    [request] = internet.requests
    assert TOKEN not in request.path


def test_a_recovery_is_a_broadcast_reply_and_marks_the_failure(channel, slack):
    posted = channel.post(recovery())
    (first, reply), (second, mark) = slack.calls
    assert (first, second) == ("chat.postMessage", "chat.update")
    assert (reply["channel"], reply["thread_ts"]) == ("C024BE91L", TOP)
    assert reply["reply_broadcast"] is True
    assert (mark["channel"], mark["ts"]) == ("C024BE91L", TOP)
    # With either of them Slack would replace the text of the message.
    assert not mark.keys() & {"text", "blocks"}
    [attachment] = mark["attachments"]
    assert attachment["blocks"][0]["text"]["text"] == "💚 Recovered: imported: `orders`"
    assert attachment["blocks"][0]["text"]["verbatim"] is True
    # The time of the reply would start a nested thread, which Slack does not support.
    assert posted.thread == THREAD


def test_a_second_failure_is_a_reply_without_a_mark(channel, slack):
    sample = message("import.failed")
    channel.post(type(sample)(sample.id, sample.type, sample.timestamp, sample.body, THREAD))
    [(method, reply)] = slack.calls
    assert method == "chat.postMessage"
    assert reply["thread_ts"] == TOP
    assert reply["reply_broadcast"] is False


@pytest.mark.parametrize("word", ["cant_update_message", "edit_window_closed", "ratelimited"])
def test_a_mark_that_fails_does_not_post_twice(channel, slack, caplog, word):
    caplog.set_level(logging.WARNING)
    slack.refuse("chat.update", word)
    assert channel.post(recovery()).thread == THREAD
    assert [method for method, _ in slack.calls] == ["chat.postMessage", "chat.update"]
    assert "message not marked" in caplog.text


@pytest.mark.parametrize("word", ["thread_not_found", "channel_not_found", "is_archived"])
def test_if_the_thread_is_gone_the_message_is_posted_to_the_channel(channel, slack, word):
    slack.refuse("chat.postMessage", word)
    posted = channel.post(recovery())
    assert [body.get("thread_ts") for _, body in slack.calls] == [TOP, None]
    assert posted.thread == "C024BE91L:1503435957.000247"


@pytest.mark.parametrize(
    "thread", ["", "C1", "om_dc13264520392913993dd051dba21dcf", "C1:x", "a:1.1"]
)
def test_a_thread_id_of_another_service_is_ignored(channel, slack, thread):
    channel.post(recovery(thread))
    [(_, body)] = slack.calls
    assert "thread_ts" not in body
    assert body["channel"] == "C024BE91L"


@pytest.mark.parametrize("word", sorted(BOT))
def test_known_errors_are_permanent_and_have_a_hint(channel, slack, word):
    slack.refuse("chat.postMessage", word)
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"slack.{word}"
    assert word in caught.value.answer
    for text in (*caught.value.message, *caught.value.hint):
        assert text
    assert not caught.value.hint.zh.isascii()


def test_a_wrong_token_is_reported_and_not_shown(slack, internet):
    outbound = HttpClientFactory(allow_private=internet.allowed)
    settings = SlackSettings(kind="slack", token=f"{TOKEN}x", channel="#ops")
    wrong = Channel("ops", settings, outbound)
    with pytest.raises(PermanentFailure) as caught:
        wrong.post(message("import.failed"))
    wrong.close()
    assert caught.value.code == "slack.invalid_auth"
    assert TOKEN not in f"{caught.value} {caught.value.answer} {settings!r}"


def test_the_rate_limit_holds_the_channel(channel, slack):
    slack.refuse("chat.postMessage", "ratelimited", status=429, headers={"Retry-After": "30"})
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("word", ["ratelimited", "rate_limited", "message_limit_exceeded"])
def test_a_rate_limit_error_in_a_200_holds_the_channel(channel, slack, word):
    slack.refuse("chat.postMessage", word)
    with pytest.raises(Throttled):
        channel.post(message("import.failed"))


@pytest.mark.parametrize(
    "word", ["internal_error", "fatal_error", "service_unavailable", "new_one"]
)
def test_other_errors_of_slack_are_temporary(channel, slack, word):
    slack.refuse("chat.postMessage", word)
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.trouble"
    assert word in caught.value.answer
    assert channel.post(message("import.failed")).thread


@pytest.mark.parametrize("body", [b"ok", b"", b"[]", b"{}", b'{"ok": "true"}', b"<html>Sign in"])
def test_200_without_ok_is_not_a_success(channel, slack, body):
    slack.refusals["chat.postMessage"] = [HttpReply(200, body)]
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "slack.not_ok"


def test_ready_describes_the_bot_and_the_channel(channel, slack):
    assert channel.ready() == "is relay in Acme; sees #ops"
    assert [method for method, _ in slack.calls] == ["auth.test", "conversations.info"]


def test_ready_reports_that_the_bot_is_not_a_member(channel, slack):
    slack.member = False
    assert channel.ready() == "is relay in Acme; sees #ops, but is not a member: /invite it"


def test_ready_reports_an_archived_or_unknown_channel(channel, slack, internet):
    slack.archived = True
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    assert caught.value.code == "slack.is_archived"
    elsewhere = build_bot(HttpClientFactory(allow_private=internet.allowed), channel="C000000000")
    with pytest.raises(PermanentFailure) as caught:
        elsewhere.ready()
    elsewhere.close()
    assert caught.value.code == "slack.channel_not_found"


def test_ready_does_not_check_the_channel_without_the_scope(channel, slack):
    slack.refuse("conversations.info", "missing_scope")
    assert (
        channel.ready()
        == "is relay in Acme; the channel was not checked (needs the scope channels:read)"
    )


def test_ready_does_not_check_a_channel_given_by_name(slack, internet):
    named = build_bot(HttpClientFactory(allow_private=internet.allowed), channel="#ops")
    text = named.ready()
    named.close()
    assert text == "is relay in Acme; the channel was not checked (needs the id, not the name)"


def test_ready_reports_a_revoked_token(channel, slack):
    slack.refuse("auth.test", "token_revoked")
    with pytest.raises(PermanentFailure) as caught:
        channel.ready()
    assert caught.value.code == "slack.token_revoked"


def test_a_webhook_has_no_threads(internet):
    internet.serve("hooks.slack.com", lambda request: b"ok")
    url = "https://hooks.slack.com/services/T1/B1/s3cret"
    outbound = HttpClientFactory(allow_private=internet.allowed)
    channel = Channel("ops", SlackSettings(kind="slack", url=url), outbound)
    posted = channel.post(recovery())
    assert channel.ready() is None
    channel.close()
    [request] = internet.requests
    assert "thread_ts" not in json.loads(request.body)
    assert posted.thread is None


def test_a_removed_webhook_is_reported(internet):
    internet.serve("hooks.slack.com", lambda request: HttpReply(404, b"no_service"))
    url = "https://hooks.slack.com/services/T1/B1/s3cret"
    outbound = HttpClientFactory(allow_private=internet.allowed)
    channel = Channel("ops", SlackSettings(kind="slack", url=url), outbound)
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    channel.close()
    assert caught.value.code == "slack.no_service"


def test_every_error_is_explained_in_english_and_chinese():
    for error in (*WEBHOOK.values(), *BOT.values()):
        texts = (error.message, error.hint)
        assert not [text for text in texts if text.zh.isascii() or not text.en.isascii()]


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("", "needs url (an incoming webhook), or token and channel (a bot)"),
        ('url = ""\ntoken = ""', "needs url (an incoming webhook), or token and channel (a bot)"),
        ('token = "xoxb-s3cret"', "needs url (an incoming webhook), or token and channel (a bot)"),
        (
            'url = "https://hooks.slack.com/s3cret"\ntoken = "xoxb-s3cret"\nchannel = "C1"',
            "has a url and a token or channel: either url, or token and channel",
        ),
    ],
)
def test_the_settings_are_those_of_a_webhook_or_of_a_bot(tmp_path, keys, text):
    file = tmp_path / "relay.toml"
    file.write_text(f'[channels.ops]\nkind = "slack"\n{keys}\n')
    with pytest.raises(ConfigErrors) as caught:
        load(file, {}, settings_class)
    [error] = caught.value.errors
    assert error.path == "channels.ops"
    assert text in str(error)
    assert "s3cret" not in str(error)


def test_the_token_is_redacted_in_logs(tmp_path):
    file = tmp_path / "relay.toml"
    file.write_text(f'[channels.ops]\nkind = "slack"\ntoken = "{TOKEN}"\nchannel = "#ops"\n')
    assert TOKEN in set(secrets(load(file, {}, settings_class)))


def test_the_default_rate_is_a_message_a_second():
    url = "https://hooks.slack.com/services/T1/B1/x"
    assert SlackSettings(kind="slack", url=url).rate == RateLimit(1, timedelta(seconds=1))
    assert SlackSettings(kind="slack", url=url, rate="5/1m").rate.count == 5


def test_unusual_settings_cause_warnings():
    def advice(**keys):
        return [words for words, _ in SlackSettings(kind="slack", **keys).advise()]

    assert advice(url="https://hooks.slack.com/services/T1/B1/x") == []
    assert advice(token=TOKEN, channel="C1") == []
    assert advice(url="https://chat.example.com/hooks/x") == ["its url is not Slack's"]
    assert advice(token="xoxp-1", channel="C1") == ["its token is not a bot's"]


def test_the_length_of_the_channel_name_is_limited():
    with pytest.raises(ValidationError):
        SlackSettings(kind="slack", token=TOKEN, channel="C" * 101)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cards | full_cards)
def test_every_card_fits_the_limits_of_slack(card):
    body = render(card)
    assert len(body["blocks"]) <= 50
    assert len(json.dumps(body["blocks"], ensure_ascii=False)) <= 12_000
    assert len(body["text"]) <= LONGEST_TEXT
    for block in body["blocks"]:
        texts = block.get("fields") or block.get("elements") or [block["text"]]
        assert len(texts) <= 10
        limit = {"header": 150, "context": 2000}.get(
            block["type"], 2000 if "fields" in block else 3000
        )
        assert all(0 < len(text["text"]) <= limit for text in texts)


def test_a_digest_that_is_too_long_contains_no_cut_links():
    sample = digest(count=500)
    for delivery in sample.body["deliveries"]:
        delivery["func_name"] = "&" * 900
    body = render(build_card("digest", sample.body, "en"))
    texts = [
        block["text"]["text"]
        for block in body["blocks"]
        if block["type"] == "section" and "text" in block
    ]
    assert sum(text.count("|→>") for text in texts) >= 5
    assert any(text.endswith("\n…") for text in texts)
    for text in texts:
        assert text.count("<") == text.count(">") == text.count("|")
        assert text.count("`") % 2 == 0
